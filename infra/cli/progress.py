"""One line on stderr for whatever takes longer than a second, gone again when it is over."""

from __future__ import annotations

import sys
import threading
import time
from typing import Self

#: Seconds until the line appears, and between two looks of it.
AFTER_S = 1.0


class Progress:
    """`with Progress("waiting for the API"): …`; `say` changes the words meanwhile."""

    def __init__(self, words: str) -> None:
        self._words = words
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, name="progress", daemon=True)
        self._terminal = sys.stderr.isatty()

    def say(self, words: str) -> None:
        self._words = words

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _show(self) -> None:
        started, said = time.monotonic(), ""
        while not self._over.wait(AFTER_S):
            if self._terminal:
                sys.stderr.write(f"\r\x1b[K{self._words} … {time.monotonic() - started:.0f} s")
            elif self._words != said:
                sys.stderr.write(f"{self._words} …\n")
            said = self._words
            sys.stderr.flush()
        if said and self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
