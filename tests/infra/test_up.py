"""`oncue up` and the commands that speak to it, from the outside: real processes, real HTTP, real files."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import ONCUE, OnCue, are_gone, make_function, start

Eventually = Callable[..., object]

#: What the functions of this OnCue do when asked.
SAMPLES = '''
import time
from pathlib import Path
from typing import Any
from runtime import Artifact, Context, GiveUp, function

@function
def echo(word: str, count: int = 1, to: list[str] = [], blob: bytes = b"") -> dict[str, Any]:
    """Give back what was given."""
    return {"word": word, "count": count, "to": to, "blob": blob.decode()}

@function
def picture(image: bytes, width: int = 1) -> Artifact:
    return Artifact(image * width, "image/png", "out.png")

@function
def text() -> Artifact:
    return Artifact(b"plain words", "text/plain")

@function
def fails() -> None:
    raise GiveUp("the paper is out")

@function
def talks(ctx: Context) -> None:
    print("a printed line")
    ctx.log.warning("a logged line")
    ctx.progress(0.5, "half")

@function
def until_told(flag: str, *, ctx: Context) -> str:
    """Run until a file appears."""
    ctx.progress(0.25, "waiting for the file")
    while not Path(flag).exists():
        time.sleep(0.02)
    return "told"
'''


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCue]:
    """One OnCue for the tests that only ask it things."""
    folder = tmp_path_factory.mktemp("up")
    make_function(folder / "functions", "samples", SAMPLES)
    make_function(folder / "functions", "broken", "import runtime\n\nx = 1 / 0\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    oncue = start({**kept, "ONCUE_PORT": "0"}, folder)
    yield oncue
    assert oncue.up.stop() == 0


def test_the_list_of_functions(shared: OnCue) -> None:
    """Every function is listed, and the broken folder with file, line and reason."""
    shown = shared.run("list").stdout
    for name in ("echo", "picture", "talks", "until_told"):
        assert re.search(rf"^{name} .* samples ", shown, re.MULTILINE)
    assert "✗ broken/__init__.py:3: ZeroDivisionError: division by zero" in shown
    document = shared.json("list")
    assert isinstance(document, dict)
    assert {f["name"] for f in document["functions"]} == {"echo", "picture", "text", "fails", "talks", "until_told"}
    assert document["quarantined"][0]["line"] == 3


def test_a_result_that_is_json(shared: OnCue, tmp_path: Path) -> None:
    """Words become data by the function's schema: text stays text, numbers are numbers, files are bytes."""
    (tmp_path / "blob").write_bytes(b"raw")
    answer = shared.run("invoke", "echo", "word=42", "count=42", "to=a", "to=b", f"blob=@{tmp_path}/blob", "--wait")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {"word": "42", "count": 42, "to": ["a", "b"], "blob": "raw"}


def test_a_result_that_is_a_file(shared: OnCue, tmp_path: Path) -> None:
    """A file goes in raw with parameters beside it, and the result comes out as bytes: to a file, or into a pipe."""
    (tmp_path / "in.png").write_bytes(b"\x89PNG")
    out = tmp_path / "out.png"
    answer = shared.run("invoke", "picture", f"@{tmp_path}/in.png", "width=2", "--wait", "-o", str(out))
    assert answer.returncode == 0, answer.stderr
    assert out.read_bytes() == b"\x89PNG" * 2
    assert "image/png, 8 bytes" in answer.stderr
    piped = subprocess.run(
        [ONCUE, "invoke", "picture", f"@{tmp_path}/in.png", "--wait", "--url", shared.url], capture_output=True, check=True
    )
    assert piped.stdout == b"\x89PNG"
    assert shared.run("invoke", "text", "--wait").stdout == "plain words\n"


def test_bytes_for_a_terminal(shared: OnCue, tmp_path: Path) -> None:
    """They are kept away from it; the hint tells how to have them, and the hint is true."""
    (tmp_path / "in.png").write_bytes(b"\x89PNG")
    ours, theirs = pty.openpty()
    command = [ONCUE, "invoke", "picture", f"@{tmp_path}/in.png", "--wait", "--url", shared.url]
    refused = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    os.close(ours)
    assert refused.returncode == 2
    found = re.search(r"oncue get (\S+) -o FILE", refused.stderr)
    assert found
    assert shared.run("get", found[1], "-o", str(tmp_path / "out")).returncode == 0
    assert (tmp_path / "out").read_bytes() == b"\x89PNG"


def test_an_invocation_that_fails(shared: OnCue) -> None:
    """Exit code 1, with the handler's own words; `get` shows it, `get --wait` fails alike."""
    answer = shared.run("invoke", "fails", "--wait")
    assert answer.returncode == 1
    assert "the paper is out" in answer.stderr
    listed = shared.json("invocations", "--function", "fails", "--status", "failed")
    assert isinstance(listed, dict)
    id = listed["invocations"][0]["id"]
    assert shared.run("get", id).returncode == 0
    assert "the paper is out" in shared.run("get", id).stdout
    assert shared.run("get", id, "--wait").returncode == 1


def test_an_invocation_that_takes_its_time(shared: OnCue, tmp_path: Path) -> None:
    """Exit code 3 when the time is up; it goes on, its progress is shown, and a later look finds the result."""
    answer = shared.run("invoke", "until_told", f"flag={tmp_path}/flag", "--wait", "4")
    assert answer.returncode == 3
    assert "is running after 4 s and goes on" in answer.stderr
    assert "25% waiting for the file …" in answer.stderr
    found = re.search(r"oncue get (\S+) --wait", answer.stderr)
    assert found
    shown = shared.run("get", found[1]).stdout
    assert re.search(r"^status +running$", shown, re.MULTILINE)
    (tmp_path / "flag").touch()
    document = shared.json("get", found[1], "--wait")
    assert isinstance(document, dict)
    assert document["status"] == "succeeded"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["invoke", "nobody", "--wait"], "nobody"),
        (["invoke", "echo", "--wait"], "word"),
        (["invoke", "echo", "word=x", "count=many"], "count"),
        (["get", "default-00000000000000000000000000"], "invocation"),
        (["logs", "default-00000000000000000000000000"], "invocation"),
        (["invocations", "--status", "nonsense"], "status"),
    ],
)
def test_what_the_api_refuses(shared: OnCue, words: list[str], reason: str) -> None:
    """Exit code 2, and words that name what is wrong."""
    answer = shared.run(*words)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert reason in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_logs_of_an_invocation(shared: OnCue) -> None:
    """Printed lines, log records and progress are told in order up to the end, also to who comes late."""
    document = shared.json("invoke", "talks")
    assert isinstance(document, dict)
    followed = shared.run("logs", document["id"], "--follow").stdout
    assert followed.index("a printed line") < followed.index("a logged line") < followed.index("50%  half")
    assert followed.rstrip().endswith("succeeded")
    later = [json.loads(line) for line in shared.run("logs", document["id"], "--json").stdout.splitlines()]
    assert [each["data"]["line"] for each in later if each["event"] == "log"] == ["a printed line", "a logged line"]


def test_the_logs_of_a_running_invocation(shared: OnCue, tmp_path: Path) -> None:
    """Without --follow what there is is printed; with it, the command ends with the invocation."""
    document = shared.json("invoke", "until_told", f"flag={tmp_path}/flag")
    assert isinstance(document, dict)
    command = [ONCUE, "logs", document["id"], "-f", "--url", shared.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        seen = ""
        while "waiting for the file" not in seen:
            seen = follower.stdout.readline()
            assert seen, "the logs ended before the invocation did"
        assert "waiting for the file" in shared.run("logs", document["id"]).stdout
        assert follower.poll() is None
        (tmp_path / "flag").touch()
        assert "succeeded" in follower.stdout.read()
    assert follower.returncode == 0


def test_an_idempotency_key(shared: OnCue) -> None:
    """The same key and data answer with the same id; other data are refused."""
    first, second = (shared.json("invoke", "echo", "word=x", "--key", "k1") for _ in range(2))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["id"] == second["id"]
    assert shared.run("invoke", "echo", "word=y", "--key", "k1").returncode == 2


def test_the_line_of_a_finished_invocation(shared: OnCue, eventually: Eventually) -> None:
    """`up` prints one line for each, with its id."""
    document = shared.json("invoke", "echo", "word=x")
    assert isinstance(document, dict)
    eventually(lambda: any(document["id"] in line and "succeeded" in line for line in shared.up.lines))


def test_a_folder_added_while_it_runs(shared: OnCue, eventually: Eventually) -> None:
    """`oncue new` beside a running `up` is served within moments."""
    assert shared.run("new", "greet").returncode == 0
    eventually(lambda: shared.up.has("● greet"))
    answer = shared.run("invoke", "greet", "@functions/greet/event.json", "--wait")
    assert json.loads(answer.stdout) == {"greeting": "Hello, Ada!"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_end_of_up(
    environment: dict[str, str], functions: Path, tmp_path: Path, eventually: Eventually, number: signal.Signals
) -> None:
    """Ctrl-C, or `kill -9` of `up` alone, leaves no process, not even a child that is in the middle of a call."""
    make_function(functions, "samples", SAMPLES)
    oncue = start({**environment, "ONCUE_GRACE": "0.2"}, tmp_path)
    oncue.json("invoke", "until_told", f"flag={tmp_path}/never")
    eventually(lambda: len(oncue.up.descendants()) >= 4)  # server, web, worker, child
    pids = oncue.up.descendants()
    code = oncue.up.stop(number)
    assert code == (0 if number == signal.SIGINT else -signal.SIGKILL)
    eventually(lambda: are_gone(pids))


def test_a_killed_up_that_comes_back(
    environment: dict[str, str], functions: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """What was accepted before `kill -9` runs after the next start, and old results are still there."""
    make_function(functions, "samples", SAMPLES)
    first = start({**environment, "ONCUE_LEASE": "1s"}, tmp_path)
    done = first.json("invoke", "echo", "word=x")
    open_one = first.json("invoke", "until_told", f"flag={tmp_path}/flag")
    assert isinstance(done, dict)
    assert isinstance(open_one, dict)
    eventually(lambda: first.up.has(done["id"]) and first.run("get", open_one["id"]).stdout.count("running"))
    pids = first.up.descendants()
    first.up.stop(signal.SIGKILL)
    eventually(lambda: are_gone(pids))
    (tmp_path / "flag").touch()
    second = start({**environment, "ONCUE_LEASE": "1s"}, tmp_path)
    assert second.run("get", done["id"], "--wait").returncode == 0
    assert second.run("get", open_one["id"], "--wait", "20").returncode == 0
    assert second.up.stop() == 0


def test_a_killed_worker(environment: dict[str, str], functions: Path, tmp_path: Path, eventually: Eventually) -> None:
    """It comes back, and its invocation runs again and succeeds."""
    make_function(functions, "samples", SAMPLES)
    oncue = start({**environment, "ONCUE_LEASE": "1s"}, tmp_path)
    document = oncue.json("invoke", "until_told", f"flag={tmp_path}/flag")
    assert isinstance(document, dict)
    eventually(lambda: oncue.run("get", document["id"]).stdout.count("running"))
    (worker,) = [pid for pid in oncue.up.descendants() if b"infra.process\0worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: oncue.up.has("worker 0 ended (killed by SIGKILL); starting it again"))
    (tmp_path / "flag").touch()
    assert oncue.run("get", document["id"], "--wait", "20").returncode == 0
    assert oncue.up.stop() == 0
