"""Folders of handlers written into tmp_path, and pools of real children over them."""

from __future__ import annotations

import json
import os
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.execution.pool import Call, ChildPool, Ending
from runtime.execution.processes import adopt_orphans

OnOutput = Callable[[list[dict[str, Any]]], None]

PREAMBLE = "from runtime import Artifact, Context, Event, GiveUp, Retry, function\n"


class Children:
    """A pool over one folder, with short ways to call and to look."""

    def __init__(self, folder: Path, state_dir: Path, **options: Any) -> None:
        self.folder, self.state_dir = folder, state_dir
        self.output: list[dict[str, Any]] = []
        self.pool = ChildPool(
            **{"folder": folder, "name": "sample", "state_dir": state_dir, "secret": lambda _: None, **options}
        )

    def call(self, function: str, data: Any = None, *, on_output: OnOutput | None = None, **changes: Any) -> Ending:
        return self.pool.call(call_of(function, data, **changes), on_output or self.output.extend)

    def result(self, function: str, data: Any = None, **changes: Any) -> Any:
        ending = self.call(function, data, **changes)
        assert ending.failure is None, ending.failure
        return json.loads(ending.body)

    def lines(self, stream: str) -> list[str]:
        return [frame["line"] for frame in self.output if frame["kind"] == "log" and frame["stream"] == stream]


def call_of(function: str, data: Any = None, **changes: Any) -> Call:
    event = {"id": "1", "source": "/test", "type": "oncue.invoke", "time": "2026-01-01T00:00:00+00:00", "data": data}
    values: dict[str, Any] = {
        "invocation_id": "invocation-1",
        "function": function,
        "attempt": 1,
        "event": json.dumps(event).encode(),
        "blob": None,
        "idempotency_key": "key-1",
        "timeout_s": 20.0,
        "memory_bytes": 512 * 10**6,
        "trace": {},
        "secrets": (),
    }
    return Call(**{**values, **changes})


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Callable[..., Children]]:
    """Make a pool over a folder with this code; every pool is closed, and nothing it started may be left."""
    adopt_orphans()  # as a worker does, so that this process and not init reaps what a crash orphans
    made: list[Children] = []

    def make(code: str, **options: Any) -> Children:
        folder = tmp_path / f"folder{len(made)}"
        folder.mkdir()
        (folder / "__init__.py").write_text(PREAMBLE + textwrap.dedent(code))
        made.append(Children(folder, tmp_path / "state", **options))
        return made[-1]

    yield make
    for one in made:
        one.pool.close()
        assert one.pool.size == 0
    assert processes_naming(str(tmp_path)) == []


def processes_naming(text: str) -> list[int]:
    """Pids of the processes, zombies aside, that have `text` in their command line."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (directory / "cmdline").read_bytes():
                found.append(int(directory.name))
        except OSError:
            continue
    return found


def is_gone(pid: int) -> bool:
    """Whether nothing is left of a process, not even a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(condition: Callable[[], Any], deadline_s: float = 10.0) -> None:
    ends = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < ends, "the condition did not come true in time"
        time.sleep(0.005)


@pytest.fixture
def eventually() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def gone() -> Callable[[int], bool]:
    return is_gone
