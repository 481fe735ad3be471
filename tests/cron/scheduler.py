"""The triggers process with a clock of its own: python -m tests.cron.scheduler URL OFFSET_S [STEP_S AFTER_S]

Its local clock is OFFSET_S off, and is set by another STEP_S after AFTER_S seconds.
"""

from __future__ import annotations

import sys
import threading
import time
from datetime import timedelta

import time_machine

from infra import triggers
from infra.settings import Settings


def main() -> None:
    url, *numbers = sys.argv[1:]
    offset_s, step_s, after_s = (*map(float, numbers), 0.0, 0.0, 0.0)[:3]
    with time_machine.travel(time.time() + offset_s, tick=True) as traveller:
        if step_s:
            timer = threading.Timer(after_s, lambda: traveller.shift(timedelta(seconds=step_s)))
            timer.daemon = True
            timer.start()
        triggers.main(Settings(redis_url=url))


if __name__ == "__main__":
    main()
