"""`./just` on machines that lack something, and from nothing to a serving OnCue."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Stands for python3 with a pip that needs no network: it notes what it is asked for, and "installs" two scripts.
PYTHON3 = """#!/bin/sh
case "$*" in
"-m pip --version") ;;
*"install --quiet"*)
    echo "$*" >> "$PIP_CALLS"
    while [ "$1" != --target ]; do shift; done
    sleep 0.3
    mkdir -p "$2/bin"
    printf '#!/bin/sh\\necho ran just "$@"\\n' > "$2/bin/just"
    chmod +x "$2/bin/just" ;;
*) exec {python} "$@" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what a clone has, without what a run leaves behind."""
    copy = tmp_path / "a checkout"
    left_out = shutil.ignore_patterns(".*_cache", ".venv", ".tools", ".data", ".git", "__pycache__", "dist", "tests")
    shutil.copytree(ROOT, copy, ignore=left_out)
    return copy


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH with nothing but what POSIX promises."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "dirname", "mkdir", "mktemp", "rm", "chmod", "sleep", "printf"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def just(checkout: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "just"), *words], env=environment, capture_output=True, text=True, timeout=110, check=False
    )


def test_a_machine_without_python(checkout: Path, programs: Path) -> None:
    """One sentence says what to install."""
    answer = just(checkout, "up", PATH=str(programs))
    assert answer.returncode == 1
    assert answer.stderr == (
        "just: python3 is missing; install Python 3.11 or newer with pip (Debian: apt install python3-pip)\n"
    )


def test_a_python_that_is_too_old(checkout: Path, programs: Path) -> None:
    """The version that was found is named."""
    write(programs, "python3", '#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.2"\nexit 1\n')
    answer = just(checkout, "up", PATH=str(programs))
    assert (answer.returncode, answer.stderr) == (
        1,
        "just: OnCue needs Python 3.11 or newer; the python3 on PATH is Python 3.9.2\n",
    )


def test_a_python_without_pip(checkout: Path, programs: Path) -> None:
    """The package that brings pip is named."""
    write(programs, "python3", '#!/bin/sh\n[ "$1" = -c ]\n')
    answer = just(checkout, "up", PATH=str(programs))
    assert (answer.returncode, answer.stderr) == (
        1,
        "just: python3 has no pip; install it (Debian: apt install python3-pip)\n",
    )


def test_a_pip_that_fails(checkout: Path, programs: Path) -> None:
    """Its own words are shown, and nothing half-made is left to be taken for the tools."""
    write(programs, "python3", '#!/bin/sh\ncase "$*" in *install*) echo "no route to host" >&2; exit 1;; esac\nexit 0\n')
    answer = just(checkout, "up", PATH=str(programs))
    assert answer.returncode == 1
    assert "no route to host" in answer.stderr
    assert "pip could not install just and uv" in answer.stderr
    assert not any((checkout / ".tools").iterdir())


def test_two_first_runs_at_once(checkout: Path, programs: Path, tmp_path: Path) -> None:
    """Both succeed, one set of pinned tools is there, and a third run installs nothing."""
    write(programs, "python3", PYTHON3.replace("{python}", sys.executable))
    environment = {"PATH": str(programs), "PIP_CALLS": str(tmp_path / "calls")}
    answers: list[subprocess.CompletedProcess[str]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(just(checkout, "test", "-k", "a b", **environment))) for _ in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        assert (answer.returncode, answer.stdout) == (0, f"ran just --justfile {checkout}/justfile test -k a b\n"), answer
    pins = dict(re.findall(r"^(JUST|UV)=(\S+)$", (checkout / "just").read_text(), re.MULTILINE))
    assert [path.name for path in (checkout / ".tools").iterdir()] == [f"just-{pins['JUST']}-uv-{pins['UV']}"]
    calls = (tmp_path / "calls").read_text()
    assert f"rust-just=={pins['JUST']} uv=={pins['UV']}" in calls
    just(checkout, **environment)
    assert (tmp_path / "calls").read_text() == calls


def test_a_new_pin(checkout: Path, programs: Path, tmp_path: Path) -> None:
    """A changed version in `just` is installed by the next run."""
    write(programs, "python3", PYTHON3.replace("{python}", sys.executable))
    environment = {"PATH": str(programs), "PIP_CALLS": str(tmp_path / "calls")}
    just(checkout, **environment)
    script = checkout / "just"
    script.write_text(re.sub(r"^UV=.*", "UV=99.1", script.read_text(), flags=re.MULTILINE))
    just(checkout, **environment)
    assert "uv==99.1" in (tmp_path / "calls").read_text().splitlines()[-1]


def pip_reaches_an_index() -> bool:
    """Tell whether pip can find a package here; under CI=true it must."""
    command = ["python3", "-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "-d", os.devnull, "cronsim==0"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return re.search(r"from versions: \d", found.stderr) is not None or os.environ.get("CI") == "true"


@pytest.fixture(scope="module")
def bare() -> dict[str, str]:
    """The environment of a login on a bare machine: PATH, and what the machine says of its certificates."""
    if not pip_reaches_an_index():
        pytest.skip("pip reaches no index here, so nothing can be set up from nothing")
    kept = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY")
    return {"PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin", **{name: os.environ[name] for name in kept if name in os.environ}}


def has_compiled(checkout: Path) -> bool:
    """Tell whether what nobody but a child imports is compiled: a child writes no bytecode, and would compile it each time."""
    return any(checkout.glob(".venv/lib/*/site-packages/PIL/__pycache__/Image.*.pyc"))


def serve_and_stop(checkout: Path, environment: dict[str, str]) -> list[str]:
    """Run `./just up` until it serves, end it with SIGINT, and return what it printed."""
    with subprocess.Popen(
        [str(checkout / "just"), "up"],
        env={**environment, "ONCUE_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as up:
        assert up.stdout is not None
        lines = []
        try:
            for line in up.stdout:
                lines.append(line)
                if "serves at" in line:
                    up.send_signal(signal.SIGINT)
        except BaseException:
            up.kill()  # else leaving this block would wait for it without end
            raise
    assert up.returncode == 0, "".join(lines)
    return lines


@pytest.mark.timeout(180)
def test_a_bare_machine(checkout: Path, bare: dict[str, str]) -> None:
    """`./just up` serves from nothing, without HOME and outside any folder of the user's; a second one changes nothing."""
    serve_and_stop(checkout, bare)
    made = {path: path.stat().st_mtime_ns for path in (checkout / ".venv").rglob("*.dist-info")}
    assert {"oncue", "reportlab"} <= {path.name.partition("-")[0] for path in made}
    assert not (checkout / ".venv" / "bin" / "pytest").exists()
    assert has_compiled(checkout)
    lines = serve_and_stop(checkout, bare)
    assert not any("installing" in line for line in lines), lines
    assert {path: path.stat().st_mtime_ns for path in (checkout / ".venv").rglob("*.dist-info")} == made
    assert sorted(path.name for path in checkout.parent.iterdir()) == [checkout.name]


@pytest.fixture
def uv(checkout: Path) -> Path:
    """uv, of the tools that this checkout has and the copy shares: how they are installed is another test's."""
    pins = dict(re.findall(r"^(JUST|UV)=(\S+)$", (ROOT / "just").read_text(), re.MULTILINE))
    name = f"just-{pins['JUST']}-uv-{pins['UV']}"
    if not (ROOT / ".tools" / name).is_dir():
        pytest.skip("these tests were not started by ./just, so its tools are not here")
    (checkout / ".tools").mkdir()
    (checkout / ".tools" / name).symlink_to(ROOT / ".tools" / name)
    return checkout / ".tools" / name / "bin" / "uv"


def without_developers_tools(checkout: Path, uv: Path) -> str:
    """The lock of pip without what `./just up` does not need: four in ten of its packages."""
    export = [
        "export",
        "--quiet",
        "--locked",
        "--offline",
        "--no-emit-project",
        "--no-hashes",
        "--no-default-groups",
        "--group",
        "functions",
    ]
    listed = subprocess.run([str(uv), *export], cwd=checkout, capture_output=True, text=True, check=True).stdout
    wanted = set(re.findall(r"^\S+==[^\s;]+", listed, re.MULTILINE))
    entries = re.split(r"^(?=\S)", (checkout / "requirements.lock").read_text(), flags=re.MULTILINE)
    return "".join(entry for entry in entries if entry.partition(" ")[0] in wanted)


@pytest.mark.timeout(180)
def test_a_machine_on_which_only_pip_finds_an_index(checkout: Path, bare: dict[str, str], tmp_path: Path, uv: Path) -> None:
    """pip makes the environment from its own lock, once; what it made serves."""
    lock = without_developers_tools(checkout, uv)
    assert "starlette==" in lock
    (checkout / "requirements.lock").write_text(lock)
    environment = {**bare, "UV_OFFLINE": "1", "HOME": str(tmp_path)}
    lines = serve_and_stop(checkout, environment)
    assert any("trying pip" in line for line in lines)
    assert has_compiled(checkout)
    again = just(checkout, "environment", "--no-dev", **environment)
    assert (again.returncode, again.stderr) == (0, "")


@pytest.mark.usefixtures("uv")
def test_the_developers_tools(checkout: Path, bare: dict[str, str]) -> None:
    """What `./just up` does to the environment takes nothing away that `./just test` has put there."""
    bare = {**bare, "HOME": os.environ.get("HOME", "")}  # where uv has what `./just test` has downloaded
    just(checkout, "environment", **bare)
    assert (checkout / ".venv" / "bin" / "pytest").exists()
    just(checkout, "environment", "--no-dev", **bare)
    assert (checkout / ".venv" / "bin" / "pytest").exists()
