"""Each shipped folder, deployed by itself on a host that has none of its libraries: what it declares is all that it needs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pypdf
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from runtime.versions.environments import find_uv
from tests.running import OnCue, start

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"
#: Settings of the machine that stay: where packages come from. Others would lead back to the environment of these tests.
FOREIGN = ("ONCUE_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT", "UV_PYTHON")


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {"UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "1", **kept}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """A virtual environment with OnCue as it is locked and what it needs itself, and nothing for its functions."""
    place = tmp_path_factory.mktemp("bare") / "venv"
    sync = [find_uv() or "uv", "sync", "--locked", "--quiet", "--no-default-groups", "--python", sys.executable]
    try:
        done = subprocess.run(
            sync,
            cwd=ROOT,
            env={**environment, "UV_PROJECT_ENVIRONMENT": str(place)},
            capture_output=True,
            text=True,
            check=False,
        )
        problem = done.stderr if done.returncode else ""
    except FileNotFoundError as error:
        problem = str(error)
    if problem:
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(f"uv cannot make an environment: NOTHING IS DEPLOYED ON A BARE HOST: {problem}")
    return place / "bin"


@pytest.fixture(scope="module")
def oncue(bare: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCue]:
    """`oncue up` of the bare environment, without a function."""
    oncue = start({**environment, "ONCUE_PORT": "0"}, tmp_path_factory.mktemp("host"), str(bare / "oncue"))
    yield oncue
    assert oncue.up.stop() == 0


def test_host_has_no_library_of_the_functions(bare: Path) -> None:
    """OnCue itself needs none of what its functions need; only then do the others prove something."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    theirs = {canonicalize_name(Requirement(line).name) for line in groups["functions"]}
    program = "from importlib.metadata import distributions; print(*(found.name for found in distributions()))"
    done = subprocess.run([bare / "python", "-c", program], capture_output=True, text=True, check=True)
    found = set(map(canonicalize_name, done.stdout.split()))
    assert "pydantic" in found
    assert found & theirs == set()


#: function -> its sample event, and whether a result is the right one
RIGHT: dict[str, tuple[str, Callable[[bytes], bool]]] = {
    "profanity_check": ("disguised.json", lambda result: not json.loads(result)["clean"]),
    "send_email": ("attachment.json", lambda result: "archive@example.com" in json.loads(result)["accepted"]),
    "thumbnail": ("cover.json", lambda result: Image.open(io.BytesIO(result)).size == (8, 8)),
    "report_pdf": ("sales.json", lambda result: len(pypdf.PdfReader(io.BytesIO(result)).pages) == 1),
}


@pytest.mark.parametrize("name", RIGHT)
def test_folder_on_a_bare_host(oncue: OnCue, name: str, tmp_path: Path) -> None:
    """`oncue deploy` installs what the folder declares, and its sample event has the result that it should have."""
    event, is_right = RIGHT[name]
    deployed = oncue.run("deploy", str(FUNCTIONS / name))
    assert deployed.returncode == 0, deployed.stderr
    assert f"+ function {name}" in deployed.stdout
    done = oncue.run("invoke", name, f"@{FUNCTIONS / name / 'events' / event}", "--wait", "-o", str(tmp_path / "result"))
    assert done.returncode == 0, done.stderr
    assert is_right((tmp_path / "result").read_bytes())
