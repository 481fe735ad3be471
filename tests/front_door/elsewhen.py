"""A process of OnCue whose clock is off: python elsewhen.py OFFSET_S web, or … OFFSET_S worker 0"""

from __future__ import annotations

import sys
import time

import time_machine

from infra import process


def main() -> None:
    offset_s, *words = sys.argv[1:]
    with time_machine.travel(time.time() + float(offset_s), tick=True):
        process.run(*words)


if __name__ == "__main__":
    main()
