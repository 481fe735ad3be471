"""The triggers process with a clock of its own."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import time_machine

from infra import triggers
from infra.settings import Settings


def main(url: str, offset_s: float = 0.0, step_s: float = 0.0, after_s: float = 0.0) -> None:
    """Run with a local clock that is `offset_s` off, and is set by another `step_s` after `after_s` seconds."""
    with time_machine.travel(time.time() + offset_s, tick=True) as traveller:
        if step_s:
            timer = threading.Timer(after_s, lambda: traveller.shift(timedelta(seconds=step_s)))
            timer.daemon = True
            timer.start()
        triggers.main(Settings(redis_url=url))
