"""What callers notice of deploys and rollbacks while they go on calling: nothing."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.versions.archive import write_archive
from runtime.versions.pack import Pack
from tests.running import OnCue, start
from tests.versions.steady import invoke_steadily, longest_pause

#: Changes of what is served, invocations a second meanwhile, and the seconds that all this may take.
CHANGES = 20
RATE = 100
LOAD_WITHIN_S = 40.0
#: Nothing that is due may wait for longer while nothing starts, seconds beyond the machine's own pauses.
LONGEST_PAUSE_S = 0.5
#: Seconds of load without a change, which tell those.
QUIET_S = 3.0


@pytest.fixture
def oncue(tmp_path: Path) -> Iterator[OnCue]:
    """A running OnCue with an empty functions folder."""
    (tmp_path / "functions").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    oncue = start({**kept, "ONCUE_PORT": "0"}, tmp_path)
    yield oncue
    assert oncue.up.stop() == 0


def saying(word: str, starts: Path) -> str:
    """The source of a handler that notes each start: the moment, its word, and the invocation's id."""
    return f"""
import functools, os, time
from runtime import Context, function
@functools.cache
def starts() -> int:
    return os.open({str(starts)!r}, os.O_WRONLY | os.O_APPEND)
@function
def greet(ctx: Context) -> str:
    os.write(starts(), f"{{time.time()}} {word} {{ctx.id}}\\n".encode())
    return "{word}"
"""


def test_deploys_and_rollbacks_under_load(oncue: OnCue, tmp_path: Path) -> None:
    """Nothing is lost, nothing fails, each invocation runs once on the version that accepted it, and starts never pause."""
    starts = tmp_path / "starts"
    starts.touch()
    words: dict[str, str] = {}  # version -> what it says
    failures: list[str] = []
    deploys: list[float] = []
    rollbacks: list[float] = []

    def change_to(client: httpx.Client, path: str, body: bytes, word: str | None, took: list[float]) -> None:
        """Deploy or roll back, and call what is served then: the answer to the change must hold for whoever got it."""
        began = time.monotonic()
        answer = client.post(path, content=body, headers={"Content-Type": "application/zip"})
        said = client.post("/v1/functions/greet", json={}, headers={"Prefer": "wait=10"})
        took.append(time.monotonic() - began)
        version = answer.json().get("version")
        if not answer.is_success or said.json() != words.setdefault(version, word or ""):
            failures.append(f"{answer.text} {said.text}")

    def deploy(client: httpx.Client, word: str) -> None:
        body = write_archive(Pack("hello", (("__init__.py", saying(word, starts).encode()),)))
        change_to(client, "/v1/deployments?folder=hello", body, word, deploys)

    def roll_back(client: httpx.Client) -> None:
        change_to(client, "/v1/deployments/hello/rollback", b"", None, rollbacks)

    def change() -> None:
        with httpx.Client(base_url=oncue.url, timeout=30) as client:
            for n in range(CHANGES):
                deploy(client, f"w{n}") if n % 2 == 0 else roll_back(client)

    def load(goes_on: Callable[[], bool], within_s: float) -> dict[str, float]:
        ends = time.monotonic() + within_s
        return asyncio.run(
            invoke_steadily(oncue.url, "/v1/functions/greet", RATE, lambda: goes_on() and time.monotonic() < ends)
        )

    with httpx.Client(base_url=oncue.url, timeout=30) as client:
        deploy(client, "first")
    quiet = load(lambda: True, QUIET_S)
    changing = threading.Thread(target=change)
    changing.start()
    changed = load(changing.is_alive, LOAD_WITHIN_S)
    changing.join()
    due = quiet | changed
    assert failures == []
    assert len(deploys) + len(rollbacks) == CHANGES + 1
    records = finished(oncue, set(due))
    lines = [line.split() for line in starts.read_text().splitlines()]
    started = {id: float(moment) for moment, _, id in lines if id in due}
    said = {id: word for _, word, id in lines}
    assert len(lines) == len(said), "an invocation ran twice"
    assert {id: words[record["version"]] for id, record in records.items()} == {id: said[id] for id in due}
    assert len(set(said.values())) > CHANGES / 3
    usual_s, pause_s = (longest_pause(each, {id: started[id] for id in each}) for each in (quiet, changed))
    print(f"longest pauses {usual_s:.3f} s and {pause_s:.3f} s; of {len(due)}, deploys {deploys}, rollbacks {rollbacks}")
    assert pause_s < LONGEST_PAUSE_S + usual_s


def finished(oncue: OnCue, ids: set[str]) -> dict[str, dict[str, Any]]:
    """The records of invocations, by id, once all have ended; every one must have succeeded."""
    ends = time.monotonic() + 20
    while True:
        found: dict[str, dict[str, Any]] = {}
        cursor = None
        while ids - found.keys():
            query = {"function": "greet", "limit": 200, **({"cursor": cursor} if cursor else {})}
            page = httpx.get(f"{oncue.url}/v1/invocations", params=query, timeout=20).json()
            found |= {record["id"]: record for record in page["invocations"] if record["id"] in ids}
            cursor = page["next"]
            if cursor is None:
                break
        assert found.keys() == ids, "accepted invocations are lost"
        statuses = {record["status"] for record in found.values()}
        if statuses == {"succeeded"}:
            return found
        assert statuses <= {"queued", "running", "succeeded"}, [r["error"] for r in found.values() if r["error"]]
        assert time.monotonic() < ends, "they have not ended in time"
