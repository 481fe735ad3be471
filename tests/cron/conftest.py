"""Schedules deployed to a real Valkey."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cron import scheduler
from tests.cron.scheduled import Cron
from tests.forked import Forked


@pytest.fixture
def cron(redis_url: str) -> Iterator[Cron]:
    """What a test deploys, and what became of it."""
    cron = Cron(redis_url)
    yield cron
    cron.close()


@pytest.fixture
def start_scheduler(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Forked]]:
    """`start_scheduler(offset_s=0.4)` runs a triggers process whose local clock is so far off, until the test ends."""
    started: list[Forked] = []

    def start(offset_s: float = 0.0, step_s: float = 0.0, after_s: float = 0.0, url: str = redis_url) -> Forked:
        clock = (offset_s, step_s, after_s)
        started.append(Forked(scheduler.main, url, *clock, environment=os.environ, log=tmp_path / "schedulers.log"))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    assert "Traceback" not in (tmp_path / "schedulers.log").read_text()
