"""What the command line does without an OnCue that runs."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from infra.cli import _spell_out_wait
from infra.cli.app import MEANT, app

#: The commands of `oncue` by name.
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a Typer is a click group

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
    for command in COMMANDS:
        assert f"  {command} " in shown.stdout
    assert "..." not in shown.stdout.partition("Commands:")[2]
    assert oncue().returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str) -> None:
    """Each command explains itself, and every option of it."""
    group = COMMANDS[command]
    for words in [[command], *([command, each] for each in getattr(group, "commands", ()))]:
        shown = oncue(*words, "-h")
        assert shown.returncode == 0, shown.stderr
        assert f"Usage: oncue {' '.join(words)}" in shown.stdout
        options = re.findall(r"^  (-\S.*)$", shown.stdout, re.MULTILINE)
        assert all(re.search(r"  \S|^\S+( \S+)?$", option) for option in options)


def test_what_a_command_does_without() -> None:
    """Before its request is out a command imports nothing that only prints, and no command line of others: it starts sooner."""
    script = "import sys\nfrom infra.cli import main\ntry: main()\nfinally: print(sys.modules.keys() & {'rich', 'pygments', 'click'})"
    words = [sys.executable, "-c", script, "rollback", "x", "--url", "http://127.0.0.1:1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "set()\n"), done.stderr
    assert "nothing answers at http://127.0.0.1:1" in done.stderr


def test_what_is_no_folder(tmp_path: Path) -> None:
    """Of a file the folder is named that it lies in."""
    (tmp_path / "__init__.py").touch()
    done = oncue("deploy", str(tmp_path / "__init__.py"))
    assert (done.returncode, done.stderr) == (
        2,
        f"oncue: {tmp_path}/__init__.py is a file; deploy the folder that it lies in: oncue deploy {tmp_path}\n",
    )


def test_version() -> None:
    """`--version` says which OnCue this is."""
    assert oncue("--version").stdout == f"oncue {version('oncue')}\n"


def loaded(*words: str) -> set[str]:
    """The modules that a command line imports."""
    script = f"import sys; sys.argv = {['oncue', *words]}\nfrom infra.cli import main\ntry: main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(shown.stdout.splitlines()[-1].split())


def test_what_help_imports() -> None:
    """The heavy packages stay out of a start that does not need them."""
    modules = loaded("--help")
    assert "typer" in modules
    assert not {"pydantic", "httpx", "redis", "rich", "dramatiq", "starlette", "msgspec"} & modules


def test_what_a_client_imports() -> None:
    """What asks the API loads neither the server's packages nor Redis."""
    modules = loaded("deploy", "--url", "http://127.0.0.1:1", str(Path(__file__).parent))
    assert "httpx" in modules
    assert not {"redis", "dramatiq", "starlette", "msgspec", "cronsim"} & modules


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["get"],
        ["list", "--nonsense"],
        ["invocations", "--limit", "0"],
        ["invoke", "x", "-o", "f"],
        ["list", "--url", "::"],
        ["list", "--url", "ftp://host"],
        ["get", ""],
        ["logs", "../functions"],
        ["cron", "next", "0 9 * *"],
        ["dead", "drop", ""],
        ["dead", "drop", "x", "--dry-run"],
        ["dead", "drop", "x", "--all"],
        ["dead", "replay", "x"],
        ["up", "--port", "99999"],
    ],
)
def test_wrong_use(words: list[str]) -> None:
    """It is told on stderr, with exit code 2."""
    answer = oncue(*words)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(("word", "meant"), [("lst", "list"), ("status", "get"), ("run", "invoke"), ("start", "up")])
def test_a_command_of_another_name(word: str, meant: str) -> None:
    """A slip, and what other tools call it, lead to the command that is meant."""
    assert f"No such command '{word}'. Did you mean '{meant}'?" in oncue(word).stderr


def test_what_else_commands_are_called() -> None:
    """Every other name leads to a command that there is, and is none itself."""
    assert set(MEANT.values()) <= COMMANDS.keys()
    assert not MEANT.keys() & COMMANDS.keys()


@pytest.mark.parametrize("words", [["--help"], ["cron", "next", "@daily"], ["cron", "next", "@daily", "--json"]])
def test_a_full_disk_behind_stdout(words: list[str]) -> None:
    """What cannot be printed is one sentence on stderr, not a traceback."""
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run([ONCUE, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (1, "oncue: No space left on device\n")


def test_a_closed_stdout() -> None:
    """Nobody is told, and nothing breaks."""
    answer = subprocess.run(["sh", "-c", f"{ONCUE} cron next @daily >&-"], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_key_that_no_header_carries() -> None:
    """It is refused without being shown."""
    answer = oncue("list", ONCUE_KEY="sëcret")
    assert (answer.returncode, "cret" in answer.stderr) == (2, False)
    assert answer.stderr.startswith("oncue: ONCUE_KEY=…: ")


def test_a_table_on_a_narrow_terminal() -> None:
    """Nothing is cut off: what names a row is there in one piece."""
    script = (
        "from infra.cli.showing import print_table\n"
        "print_table(('ID', 'STATUS', 'ERROR'), [('default-01m7yb8kkqck2xtk4779z3b44h', 'succeeded', 'word ' * 8 + 'end')])"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["COLUMNS"] = "40"
        os.execv(sys.executable, [sys.executable, "-c", script])
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while chunk := os.read(terminal, 4096):
            shown += chunk
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    assert b"default-01m7yb8kkqck2xtk4779z3b44h  succeeded  word" in shown
    assert b"end" in shown
    assert "…".encode() not in shown


def test_no_oncue_that_answers() -> None:
    """One sentence says where nothing answers, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    answer = oncue("list", ONCUE_PORT=str(port))
    assert answer.returncode == 1
    assert answer.stderr == (
        f"oncue: nothing answers at http://127.0.0.1:{port}; start OnCue with `oncue up`, or name another place with --url\n"
    )


def test_logs_that_are_slow_to_begin() -> None:
    """Silence before the first frame is no end: it is asked again, and more patiently."""
    first, again = threading.Semaphore(1), threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("/events"):
                if first.acquire(blocking=False):
                    again.wait(20)
                    return
                again.set()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'event: status\ndata: {"status": "running"}\n\n')

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever).start()
        answer = oncue("logs", "x", "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert (answer.returncode, answer.stdout) == (0, "● running\n"), answer.stderr


def test_a_deploy_that_nobody_waits_for(tmp_path: Path) -> None:
    """Ctrl-C ends the command, not the deployment; it says so."""
    over = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"step": "pack"}\n{"step": "install"}\n')
            over.wait(20)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever).start()
        words = [ONCUE, "deploy", str(tmp_path), "--url", f"http://127.0.0.1:{server.server_port}"]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as deploying:
            assert deploying.stderr is not None
            assert "pack" in deploying.stderr.readline()
            deploying.send_signal(signal.SIGINT)
            said = deploying.stderr.read()
        over.set()
        server.shutdown()
    assert (deploying.returncode, said) == (
        130,
        "\noncue: a deployment that has begun goes on where OnCue runs; oncue versions tells what is served\n",
    )


def test_a_setting_that_cannot_be() -> None:
    """A bad setting is one sentence, whatever the command."""
    answer = oncue("up", ONCUE_HOST="0.0.0.0")
    assert answer.returncode == 2
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
