"""Schedules deployed to a real Valkey."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cron.scheduled import Cron


@pytest.fixture
def cron(redis_url: str) -> Iterator[Cron]:
    """What a test deploys, and what became of it."""
    cron = Cron(redis_url)
    yield cron
    cron.close()


@pytest.fixture
def start_scheduler(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`start_scheduler(offset_s=0.4)` runs a triggers process whose local clock is so far off, until the test ends."""
    started: list[subprocess.Popen[bytes]] = []

    def start(
        offset_s: float = 0.0, step_s: float = 0.0, after_s: float = 0.0, url: str = redis_url
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.cron.scheduler", url, *map(str, (offset_s, step_s, after_s))]
        with (tmp_path / "schedulers.log").open("ab") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[2]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    assert "Traceback" not in (tmp_path / "schedulers.log").read_text()
