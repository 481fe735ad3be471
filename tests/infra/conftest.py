"""A supervisor in a process of its own, with programs of the test's making."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import Running

#: Runs a supervisor over the programs it is given as JSON: [[name, source of a Python script, grace_s], …]
_SCRIPT = """
import json, sys
from rich.console import Console
from infra.feed import Feed
from infra.processes import Program
from infra.settings import Settings
from infra.supervisor import Supervisor
from runtime.authoring.errors import OnCueError

programs = [Program(name, [sys.executable, "-c", source], grace) for name, source, grace in json.loads(sys.argv[1])]
feed = Feed(Console(width=1000, soft_wrap=True))
try:
    code = Supervisor(Settings.load(), feed, programs).run(lambda: feed.line("serving"))
except OnCueError as error:
    feed.line(str(error))
    code = 1
feed.close()
sys.exit(code)
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary folder with a short name: a socket's path has 107 bytes at the most."""
    with tempfile.TemporaryDirectory(prefix="oncue-test-") as folder:
        yield Path(folder)


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    """An empty functions folder."""
    folder = tmp_path / "functions"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(tmp_path: Path, functions: Path) -> dict[str, str]:
    """The environment of an OnCue of this test's own, on a free port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    return {
        **kept,
        "ONCUE_DATA": str(tmp_path / "data"),
        "ONCUE_FUNCTIONS": str(functions),
        "ONCUE_PORT": "0",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def supervise(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """`supervise([name, source, grace_s], …)` starts a supervisor over stand-in programs."""
    running: list[Running] = []

    def start(*programs: tuple[str, str, float], read: bool = True, **more: str) -> Running:
        process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, json.dumps(programs)],
            env={**environment, **more},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(Running(process, read=read))
        return running[-1]

    yield start
    for supervisor in running:
        if supervisor.process.poll() is None:
            supervisor.process.kill()
        supervisor.wait()
