"""Invocations that do not simply succeed, through `oncue up`: cancelled while they run, failed for good, cut off by a stop."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running import Eventually, OnCue, are_gone, make_function, start

SAMPLES = """
import os, signal, time
from pathlib import Path
from runtime import function

@function
def deaf(seen: str) -> None:
    "Take no notice of SIGTERM."
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(seen).write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)

@function
def tidy(seen: str) -> None:
    "Clean up for a second."
    Path(seen).write_text(str(os.getpid()))
    try:
        time.sleep(60)
    finally:
        time.sleep(1)
        Path(seen + ".clean").touch()

@function
def echo(word: str) -> str:
    return word

@function(retries=1, backoff_min="10ms")
def press(sheets: int, paper: str) -> int:
    "Fail until there is paper."
    print(f"{sheets} sheets to print")
    if not Path(paper).exists():
        raise ValueError(f"out of paper at sheet {sheets}")
    return sheets

@function(retries=0)
def bind() -> None:
    raise ValueError("out of glue")

@function(retries=0, timeout="1s")
def spin(seen: str) -> None:
    "Never end."
    Path(seen).write_text(str(os.getpid()))
    while True:
        pass
"""


@pytest.fixture(scope="module")
def oncue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCue]:
    """`oncue up` with a long lease: no renewal finds what an order to cancel should have told at once."""
    folder = tmp_path_factory.mktemp("endings")
    make_function(folder / "functions", "samples", SAMPLES)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    oncue = start({**kept, "ONCUE_PORT": "0", "ONCUE_LEASE": "30s"}, folder)
    yield oncue
    assert oncue.up.stop() == 0


def invoke(oncue: OnCue, function: str, **data: Any) -> str:
    """Invoke a function; return the invocation's id."""
    answer = httpx.post(f"{oncue.url}/v1/functions/{function}", json=data)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def look(oncue: OnCue, invocation_id: str) -> Any:
    """What is known of an invocation."""
    return httpx.get(f"{oncue.url}/v1/invocations/{invocation_id}").json()


def pid_in(path: Path, eventually: Eventually) -> int:
    """The pid that a handler has written when it started."""
    eventually(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def test_running_invocations_are_cancelled(oncue: OnCue, tmp_path: Path, eventually: Eventually) -> None:
    """A clean-up of a second comes to its end, who is deaf is killed after two; the next call finds a child."""
    ids, pids = {}, set()
    for name, function in (("over HTTP", "deaf"), ("by command", "deaf"), ("tidy", "tidy")):
        ids[name] = invoke(oncue, function, seen=str(tmp_path / name))
    for name in ids:
        pids.add(pid_in(tmp_path / name, eventually))
    assert re.search(r"^status +running$", oncue.run("cancel", ids["by command"]).stdout, re.MULTILINE)
    began = time.monotonic()
    for name in ("tidy", "over HTTP"):
        answer = httpx.post(f"{oncue.url}/v1/invocations/{ids[name]}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "running")
    eventually(lambda: look(oncue, ids["tidy"])["status"] == "cancelled")
    assert (tmp_path / "tidy.clean").exists()
    for name in ("by command", "over HTTP"):
        eventually(lambda name=name: look(oncue, ids[name])["status"] == "cancelled")
    assert 2 <= time.monotonic() - began < 3.5
    assert are_gone(pids)
    for name in ids:
        (attempt,) = look(oncue, ids[name])["attempts"]
        assert (attempt["outcome"], attempt["error"]["kind"]) == ("cancelled", "cancelled")
    assert httpx.post(f"{oncue.url}/v1/functions/echo", json={"word": "on"}, headers={"prefer": "wait=10"}).json() == "on"


def test_a_dead_letter_from_its_failure_to_its_replay(oncue: OnCue, tmp_path: Path, eventually: Eventually) -> None:
    """It keeps both attempts, whole, and what they printed; a replay by filter runs it on its old input, and no other."""
    paper = tmp_path / "paper"
    printed = [invoke(oncue, "press", sheets=sheets, paper=str(paper)) for sheets in (3, 5)]
    other = invoke(oncue, "bind")
    eventually(lambda: {look(oncue, each)["status"] for each in (*printed, other)} == {"failed"})
    letters: Any = oncue.json("dead", "ls", "--function", "press")
    assert [(group["count"], group["type"]) for group in letters["groups"]] == [(2, "ValueError")]
    letter = next(each for each in letters["dead_letters"] if each["id"] == printed[0])
    assert [attempt["outcome"] for attempt in letter["attempts"]] == ["retrying", "failed"]
    for attempt in letter["attempts"]:
        assert datetime.fromisoformat(attempt["started_at"]) <= datetime.fromisoformat(attempt["ended_at"])
        assert attempt["error"]["message"].startswith("out of paper at sheet 3 (__init__.py:")
        assert 'raise ValueError(f"out of paper at sheet {sheets}")' in attempt["error"]["traceback"]
        assert attempt["log"] == ["3 sheets to print"]
    given: Any = oncue.json("get", printed[0], "--input")
    assert given["data"] == {"sheets": 3, "paper": str(paper)}
    told = oncue.run("get", printed[0]).stdout
    assert told.count("out of paper at sheet 3 (__init__.py:") == 3  # the invocation's error, and that of each attempt
    assert (told.count("Traceback (most recent call last)"), told.count("3 sheets to print")) == (2, 2)
    frames = [json.loads(line) for line in oncue.run("logs", printed[0], "--json").stdout.splitlines()]
    assert [frame["data"]["line"] for frame in frames if frame["event"] == "log"] == ["3 sheets to print"] * 2
    paper.touch()
    replayed: Any = oncue.json("dead", "replay", "--function", "press", "--type", "ValueError")
    assert replayed["replayed"] == 2
    eventually(lambda: {look(oncue, each)["status"] for each in replayed["invocations"]} == {"succeeded"})
    results = [httpx.get(f"{oncue.url}/v1/invocations/{each}/result").json() for each in replayed["invocations"]]
    assert sorted(results) == [3, 5]
    assert {look(oncue, each)["replay_of"] for each in replayed["invocations"]} == set(printed)
    left = httpx.get(f"{oncue.url}/v1/dead-letters").json()
    assert [each["id"] for each in left["dead_letters"]] == [other]


def test_a_worker_told_to_stop_while_a_handler_never_ends(oncue: OnCue, tmp_path: Path, eventually: Eventually) -> None:
    """It waits for the handler's own timeout and no longer, and the attempt counts as one that took too long."""
    (worker,) = [pid for pid in oncue.up.descendants() if b"infra.process\0worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    invocation_id = invoke(oncue, "spin", seen=str(tmp_path / "seen"))
    child = pid_in(tmp_path / "seen", eventually)
    began = time.monotonic()
    os.kill(worker, signal.SIGTERM)
    eventually(lambda: are_gone({worker}), 5)
    assert time.monotonic() - began < 1 + 2
    assert are_gone({child})
    (attempt,) = look(oncue, invocation_id)["attempts"]
    assert (attempt["outcome"], attempt["error"]["kind"]) == ("failed", "timeout")
    assert attempt["duration_ms"] >= 1000
