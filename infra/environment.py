"""Brings `.venv` in step with the locks. Run by the system's python3 before any package exists: standard library only.

    python3 -I infra/environment.py [--no-dev]

uv does it from uv.lock in milliseconds when nothing has changed. Where uv reaches no index but pip does (a mirror
or a folder of wheels in pip's settings), pip does it from requirements.lock, which holds the same pins and hashes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
#: Says that pip made the environment, and from what; uv is then not asked again until that changes.
PIP_MARK = VENV / ".made-by-pip"
#: Says which state of the packages has been compiled.
COMPILED_MARK = VENV / ".compiled"

#: The machine's own interpreter, also where an activated environment hides it.
PYTHON: str = getattr(sys, "_base_executable", sys.executable)

#: Settings of a person's uv that would lead it away from the lock; pip's own settings stay as they are.
_FOREIGN = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_PROJECT", "UV_FROZEN", "UV_NO_DEV", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
_UV_SETTINGS = {
    "UV_NO_CONFIG": "1",
    # The interpreter is the machine's; uv must not fetch another.
    "UV_PYTHON_DOWNLOADS": "never",
    # Trust what the machine trusts, as pip does here.
    "UV_SYSTEM_CERTS": "1",
    # An unreachable index should be noticed within seconds: pip comes next.
    "UV_HTTP_CONNECT_TIMEOUT": "5",
    "UV_HTTP_RETRIES": "1",
}


def main() -> int:
    """Return 0 when the environment is in step, else 1 after saying why on stderr."""
    if sys.version_info < (3, 11):  # noqa: UP036  # no package metadata has guarded this interpreter yet
        return _fail(f"OnCue needs Python 3.11 or newer; the python3 on PATH is {sys.version.split()[0]}")
    (ROOT / ".tools").mkdir(exist_ok=True)
    with (ROOT / ".tools" / "environment.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two recipes at once take turns
        if PIP_MARK.is_file() and PIP_MARK.read_text() == _pip_state():
            return 0
        failed = _install(with_dev="--no-dev" not in sys.argv[1:])
        return failed or _compile()


def _install(*, with_dev: bool) -> int:
    if not VENV.exists():
        _say("installing the dependencies into .venv (the first time only)")
    # Without the developers' tools: what is missing is added, and the tools that are there stay.
    groups = [] if with_dev else ["--no-default-groups", "--group", "functions", "--inexact"]
    uv = ["uv", "sync", "--locked", "--quiet", "--python", PYTHON, *groups]
    synced = subprocess.run(uv, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    if synced.returncode == 0:
        PIP_MARK.unlink(missing_ok=True)
        return 0
    if "lockfile" in synced.stderr and "needs to be updated" in synced.stderr:
        return _fail("uv.lock is not in step with pyproject.toml; run ./just lock")
    reason = next((line for line in synced.stderr.splitlines() if line.strip()), f"exit code {synced.returncode}")
    _say(f"uv could not install ({reason.strip()}); trying pip, which takes a little longer")
    return _install_with_pip(synced.stderr)


def _install_with_pip(uv_said: str) -> int:
    # Debian's venv comes without ensurepip, so the system's pip installs into the environment from outside.
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", "--python", str(VENV / "bin" / "python")]
    # Compiled is all of it at once, afterwards, by as many processes as there are processors.
    install = [*pip, "install", "--quiet", "--no-deps", "--no-compile", "--root-user-action=ignore"]
    steps = [
        [PYTHON, "-m", "venv", "--without-pip", "--clear", str(VENV)],
        [*install, "--require-hashes", "--requirement", "requirements.lock"],
        [*install, "--editable", "."],
    ]
    environment = {**_environment(), "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    for step in steps:
        if subprocess.run(step, cwd=ROOT, env=environment, stdout=sys.stderr, check=False).returncode:
            sys.stderr.write(uv_said)
            return _fail("neither uv nor pip could install the dependencies; their reasons are above")
    PIP_MARK.write_text(_pip_state())
    return 0


def _compile() -> int:
    """Compile what will not compile itself: a child writes no bytecode, so each would compile again what only children import."""
    for packages in VENV.glob("lib/python*/site-packages"):
        is_all = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))  # then nobody else writes any either
        state = f"{packages.stat().st_mtime_ns} {is_all}\n"  # the time changes with whatever is installed or removed
        if COMPILED_MARK.is_file() and COMPILED_MARK.read_text() == state:
            continue
        installed = [packages] if is_all else sorted(_needed_by_functions(packages))
        places = (*installed, *(ROOT / name for name in ("runtime", "triggers", "infra")))
        command = [str(VENV / "bin" / "python"), "-m", "compileall", "-q", "-j", "0", *map(str, places)]
        # Some packages hold templates that are no Python; what is not compiled here is only slower to start.
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        COMPILED_MARK.write_text(state)
    return 0


def _needed_by_functions(packages: Path) -> set[Path]:
    """Return the modules and packages that the function folders require, with all that these require."""
    installed = {_normal(each.metadata["Name"]): each for each in metadata.distributions(path=[str(packages)])}
    required = [line for file in ROOT.glob("functions/*/requirements.txt") for line in file.read_text().splitlines()]
    places, seen = set(), set()
    while required:
        if (found := re.match(r"[\w.-]+", required.pop())) and (name := _normal(found[0])) not in seen and name in installed:
            seen.add(name)
            required += installed[name].requires or ()
            places |= {packages / file.parts[0] for file in installed[name].files or () if file.suffix == ".py"}
    return places


def _normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def _pip_state() -> str:
    sources = (ROOT / "requirements.lock", ROOT / "pyproject.toml")
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
    return f"{digest} {sys.version}\n"


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    return {**kept, **_UV_SETTINGS, "UV_CACHE_DIR": _cache_dir()}


def _cache_dir() -> str:
    """uv's usual cache, or one in `.tools` where HOME is missing or read-only."""
    own = ROOT / ".tools" / "uv-cache"
    home = os.environ.get("HOME")
    usual = Path(home, ".cache") if home else None
    if "XDG_CACHE_HOME" in os.environ:
        usual = Path(os.environ["XDG_CACHE_HOME"])
    if "UV_CACHE_DIR" in os.environ or usual is None:
        return os.environ.get("UV_CACHE_DIR", str(own))
    try:
        (usual / "uv").mkdir(parents=True, exist_ok=True)
    except OSError:
        return str(own)
    return str(usual / "uv") if os.access(usual / "uv", os.W_OK) else str(own)


def _say(text: str) -> None:
    sys.stderr.write(f"just: {text}\n")


def _fail(text: str) -> int:
    _say(text)
    return 1


if __name__ == "__main__":
    sys.exit(main())
