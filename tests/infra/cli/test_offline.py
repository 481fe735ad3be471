"""What the command line does without an OnCue that runs."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.cli import _spell_out_wait

ONCUE = str(Path(sys.executable).with_name("oncue"))


def oncue(*words: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    return subprocess.run(
        [ONCUE, *words], cwd=cwd, env={**environment, **more}, capture_output=True, text=True, timeout=60, check=False
    )


def test_help() -> None:
    """It names every command; so does `oncue` alone, as wrong use."""
    shown = oncue("--help")
    assert shown.returncode == 0
    for command in (
        "up",
        "web",
        "worker",
        "new",
        "inspect",
        "list",
        "invoke",
        "get",
        "logs",
        "invocations",
        "cancel",
        "replay",
        "send",
        "verify",
        "dead",
    ):
        assert f"  {command} " in shown.stdout
    assert oncue().returncode == 2


def test_what_help_imports() -> None:
    """The heavy packages stay out of a start that does not need them."""
    script = "import sys; sys.argv = ['oncue', '--help']\nfrom infra.cli import main\ntry: main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = shown.stdout.splitlines()[-1].split()
    assert "typer" in modules
    assert not {"pydantic", "httpx", "redis", "rich", "dramatiq", "starlette", "msgspec"} & set(modules)


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["get"],
        ["list", "--nonsense"],
        ["invocations", "--limit", "0"],
        ["invoke", "x", "-o", "f"],
        ["list", "--url", "::"],
    ],
)
def test_wrong_use(words: list[str]) -> None:
    """It is told on stderr, with exit code 2."""
    answer = oncue(*words)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr
    assert "Traceback" not in answer.stderr


def test_no_oncue_that_answers() -> None:
    """One sentence says where nothing answers, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    answer = oncue("list", ONCUE_PORT=str(port))
    assert answer.returncode == 1
    assert answer.stderr == (
        f"oncue: nothing answers at http://127.0.0.1:{port}; start OnCue with `oncue up`, or name another place with --url\n"
    )


def test_a_setting_that_cannot_be() -> None:
    """A bad setting is one sentence, whatever the command."""
    answer = oncue("up", ONCUE_HOST="0.0.0.0")
    assert answer.returncode == 1
    assert answer.stderr.startswith("oncue: ")
    assert "0.0.0.0" in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "spelt"),
    [
        (["invoke", "f", "--wait"], ["invoke", "f", "--wait=60"]),
        (["invoke", "f", "--wait", "width=3"], ["invoke", "f", "--wait=60", "width=3"]),
        (["invoke", "f", "--wait", "2.5", "a=1"], ["invoke", "f", "--wait", "2.5", "a=1"]),
        (["get", "--wait=3", "x"], ["get", "--wait=3", "x"]),
    ],
)
def test_wait_with_and_without_seconds(words: list[str], spelt: list[str]) -> None:
    """A bare --wait never swallows the word behind it."""
    assert _spell_out_wait(words) == spelt


def test_a_new_folder(tmp_path: Path) -> None:
    """It passes inspection and its own test at once, and its sample event fits its parameters."""
    made = oncue("new", "greet_me", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "functions" / "greet_me"
    manifest = json.loads(oncue("inspect", str(folder), "--json").stdout)
    (function,) = manifest["functions"]
    assert function["name"] == "greet_me"
    assert function["triggers"][0]["path"] == "/hooks/greet_me"
    assert json.loads((folder / "event.json").read_text()).keys() <= function["input_schema"]["properties"].keys()
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", str(folder)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in tests.stdout, tests.stdout
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", "--config", "line-length = 128", str(folder)]
    assert subprocess.run(ruff, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["Greet", "greet-me", "1st", "class", "../x", "runtime", ""])
def test_a_new_folder_of_a_bad_name(tmp_path: Path, name: str) -> None:
    """A name that could not name a Python function makes nothing."""
    answer = oncue("new", name, cwd=tmp_path)
    assert answer.returncode == 2
    assert "cannot name a function" in answer.stderr
    assert not any(tmp_path.iterdir())


def test_a_new_folder_in_the_way_of_another(tmp_path: Path) -> None:
    """What is there is never written over."""
    (tmp_path / "functions" / "greet").mkdir(parents=True)
    answer = oncue("new", "greet", cwd=tmp_path)
    assert answer.returncode == 2
    assert not any((tmp_path / "functions" / "greet").iterdir())


def test_inspecting_a_broken_folder(tmp_path: Path) -> None:
    """File, line and reason come on stderr, or as JSON; the exit code is 1."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "__init__.py").write_text("import runtime\nx = 1 / 0\n")
    answer = oncue("inspect", str(folder))
    assert (answer.returncode, answer.stderr) == (1, "oncue: broken/__init__.py:2: ZeroDivisionError: division by zero\n")
    problem = json.loads(oncue("inspect", str(folder), "--json").stdout)["problem"]
    assert (problem["file"], problem["line"]) == ("__init__.py", 2)


def test_inspecting_a_folder_for_people(tmp_path: Path) -> None:
    """Name, place, triggers and limits are told, one a line."""
    oncue("new", "greet", cwd=tmp_path)
    answer = oncue("inspect", "functions/greet", cwd=tmp_path)
    assert answer.returncode == 0
    assert "trigger     POST /hooks/greet" in answer.stdout
    assert "declared    functions/greet/__init__.py:6" in answer.stdout
