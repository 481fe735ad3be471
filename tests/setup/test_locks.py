"""The two lock files: one truth, and no host but the public index."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]

PUBLIC_HOSTS = {"pypi.org", "files.pythonhosted.org"}


def locked_by_uv() -> dict[tuple[str, str], set[str]]:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return {
        (package["name"], package["version"]): {
            file["hash"] for file in (*package.get("wheels", ()), *filter(None, [package.get("sdist")]))
        }
        for package in packages
        if "registry" in package["source"]
    }


def locked_for_pip() -> dict[tuple[str, str], set[str]]:
    text = (ROOT / "requirements.lock").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        match = re.match(r"([a-z0-9.-]+)==([^ ;]+)", line)
        assert match, line
        found[match[1], match[2]] = set(re.findall(r"--hash=(\S+)", line))
    return found


def test_both_locks_say_the_same() -> None:
    """pip installs the very versions, by the very hashes, that uv does: `./just lock` wrote both."""
    assert len(locked_by_uv()) > 50
    assert locked_for_pip() == locked_by_uv()


def test_hosts_in_the_locks() -> None:
    """No mirror and no private index of the machine that locked is in what everybody installs from."""
    for name in ("uv.lock", "requirements.lock"):
        text = (ROOT / name).read_text()
        assert set(re.findall(r"[a-z+]+://([^/\s\"']+)", text)) <= PUBLIC_HOSTS
        assert "file:" not in text
        assert "--index-url" not in text
    sources = [package["source"] for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]]
    assert {key for source in sources for key in source} == {"registry", "editable"}


def test_every_requirement_of_a_function_folder_is_locked() -> None:
    """The folders of functions/ run from the environment that `./just up` makes: it has what they ask for."""
    locked = dict(locked_by_uv().keys())
    asked = [line for file in ROOT.glob("functions/*/requirements.txt") for line in file.read_text().splitlines()]
    requirements = [Requirement(line) for line in asked if line and not line.startswith("#")]
    assert requirements
    for requirement in requirements:
        assert requirement.specifier.contains(locked.get(requirement.name, "0")), requirement
