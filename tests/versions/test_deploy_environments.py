"""Folders with requirements of their own: installed once, apart from each other and from what OnCue has installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.authoring.errors import DeclarationError
from runtime.execution.pool import Call, ChildPool
from runtime.versions.deployer import RefusedError
from runtime.versions.environments import Environments, find_uv
from runtime.versions.requirements import read_requirements
from tests.versions.deploying import Host

UV = find_uv()


@pytest.fixture
def index() -> None:
    """Skip loudly where no package index can be reached."""
    asked = [UV or "uv", "pip", "compile", "--quiet", "--python", sys.executable, "-"]
    reached = UV and subprocess.run(asked, input="six==1.16.0\n", capture_output=True, text=True, check=False).returncode == 0
    if not reached:
        if os.environ.get("CI") == "true":
            pytest.fail("uv reaches no package index")
        pytest.skip("uv reaches no package index: environments are not tested")


@pytest.fixture
def host(redis_url: str, tmp_path: Path) -> Iterator[Host]:
    host = Host(redis_url, tmp_path)
    yield host
    host.close()


def call(host: Host, folder: str, function: str) -> object:
    """Run a function of a folder as a worker does, on what is deployed."""
    version = host.live(folder)
    assert version is not None
    place = host.versions.fetch(version, folder)
    python = host.environments.python(place, host.store.lock(version))
    pool = ChildPool(folder=place, name=folder, python=python, state_dir=host.versions.state(folder), secret=lambda _: None)
    event = {"id": "1", "source": "/", "type": "t", "time": "2026-01-01T00:00:00+00:00", "data": {}}
    try:
        ending = pool.call(
            Call("1", function, 1, json.dumps(event).encode(), None, "1", 10.0, 512 * 10**6, {}, ()), lambda _: None
        )
    finally:
        pool.close()
    assert ending.failure is None, ending.failure
    return json.loads(ending.body)


LIBRARY = """
    import six, toml
    from importlib.util import find_spec
    from runtime import function

    @function
    def {name}() -> dict[str, object]:
        return {{"six": six.__version__, "toml": toml.__version__, "sees": [n for n in ("redis", "msgspec") if find_spec(n)]}}
"""


@pytest.mark.usefixtures("index")
def test_two_folders_with_conflicting_versions_serve_side_by_side(host: Host) -> None:
    """Each has its own pins of two real packages, both are called in one test; neither sees what OnCue has installed."""
    for name, pins in (("old", "six==1.15.0\ntoml==0.10.1\n"), ("new", "six==1.16.0\ntoml==0.10.2\n")):
        assert host.deploy(host.folder(name, LIBRARY.format(name=name), requirements_txt=pins)).changed
    assert call(host, "old", "old") == {"six": "1.15.0", "toml": "0.10.1", "sees": []}
    assert call(host, "new", "new") == {"six": "1.16.0", "toml": "0.10.2", "sees": []}


@pytest.mark.usefixtures("index")
def test_an_environment_is_installed_once_for_all_that_pin_the_same(host: Host) -> None:
    """By several folders, versions, and deployers at once; compiled already, found by another host from the lock, and kept while used."""
    source = "import six\nfrom runtime import function\n@function\ndef {name}() -> str: return six.__version__\n"
    folders = [host.folder(name, source.format(name=name), requirements_txt="six==1.15.0") for name in ("a", "b", "c")]
    failures: list[Exception] = []

    def deploy(folder: Path) -> None:
        try:
            host.deploy(folder)
        except RefusedError as error:
            failures.append(error)

    threads = [threading.Thread(target=deploy, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    (environment,) = [p for p in (host.place / "data" / "environments").iterdir() if not p.name.startswith(".")]
    assert list(environment.glob("lib/*/site-packages/__pycache__/six.*.pyc"))
    assert call(host, "c", "c") == "1.15.0"
    version = host.live("a")
    assert version is not None
    other = Environments(host.place / "other")
    python = other.python(folders[0], host.store.lock(version))
    assert Path(python).parents[1].name == environment.name
    sweeper = Environments(host.place / "other")  # locks of its own, as another process has
    assert sweeper.sweep(most=0) == []
    other.let_go(python)
    assert sweeper.sweep(most=0) == [environment.name]


@pytest.mark.usefixtures("index")
def test_a_failed_installation_is_told_in_the_installers_words(host: Host) -> None:
    """Nothing is deployed, and nothing half installed is left."""
    for text, words in (
        ("no-such-package-for-oncue==1.0", "no-such-package-for-oncue was not found"),
        ("six==99.0", "there is no version of six==99.0"),
        ("pydantic<2", "unsatisfiable"),
    ):
        folder = host.folder("hello", "from runtime import function\n@function\ndef f(): ...\n", requirements_txt=text)
        with pytest.raises(
            RefusedError, match=r"hello/requirements.txt: its requirements cannot be installed; uv says:"
        ) as caught:
            host.deploy(folder)
        assert words in " ".join(str(caught.value).split())
    assert host.live("hello") is None
    assert list((host.place / "data").glob("environments/*")) == []


@pytest.mark.usefixtures("index")
def test_requirements_in_a_pyproject(host: Host) -> None:
    """Its dependencies count, its build system does not."""
    text = '[project]\nname = "hello"\nversion = "1"\ndependencies = ["six==1.15.0"]\n'
    source = "import six\nfrom runtime import function\n@function\ndef hello() -> str: return six.__version__\n"
    host.deploy(host.folder("hello", source, pyproject_toml=text))
    assert call(host, "hello", "hello") == "1.15.0"


def test_what_is_installed_beside_oncue_needs_no_installer(tmp_path: Path) -> None:
    """A folder whose requirements are all met runs in OnCue's own interpreter, without uv and without a network."""
    environments = Environments(tmp_path / "data", uv="/no/uv")
    folder = tmp_path / "hello"
    folder.mkdir()
    assert environments.python(folder) == sys.executable
    for text in ("", "# nothing\n", "pydantic>=2 # ours\n", "PyDantic\nnothing==1 ; python_version < '3'\n"):
        (folder / "requirements.txt").write_text(text)
        assert environments.lock(folder) == ""
        assert environments.python(folder) == sys.executable
    assert not (tmp_path / "data").exists()


def test_pins_count_also_where_all_is_installed_by_now(tmp_path: Path) -> None:
    """A version that has an environment of its own runs in it, whatever OnCue's own has got meanwhile."""
    (tmp_path / "requirements.txt").write_text("pydantic>=2")
    with pytest.raises(FileNotFoundError, match="/no/uv"):
        Environments(tmp_path / "data", uv="/no/uv").python(tmp_path, "pydantic==2.0")


@pytest.mark.parametrize(
    "text", ["pydantic<2", "nothing-of-the-kind", "-r other.txt", "pydantic[email]", "git+https://x.example/y"]
)
def test_what_is_not_met_here_is_not_taken_for_met(tmp_path: Path, text: str) -> None:
    """Other versions, absent ones, extras, options and URLs go to the installer."""
    (tmp_path / "requirements.txt").write_text(text)
    wanted = read_requirements(tmp_path)
    assert wanted is not None
    assert not wanted.are_met_here()


def test_an_absent_installer_is_told_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only when something is to be installed."""
    monkeypatch.setattr("runtime.versions.environments.find_uv", lambda: None)
    (tmp_path / "requirements.txt").write_text("nothing-of-the-kind")
    with pytest.raises(DeclarationError, match="uv, which would install them, is not on PATH; install uv"):
        Environments(tmp_path / "data").lock(tmp_path)


def test_a_pyproject_that_is_none_is_told(tmp_path: Path) -> None:
    """With the file's name."""
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(DeclarationError, match="it is no TOML") as caught:
        read_requirements(tmp_path)
    assert caught.value.file == "pyproject.toml"
