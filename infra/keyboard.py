"""Single keys from a terminal, without Return; Ctrl-C stays what it is."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator


@contextlib.contextmanager
def keyboard() -> Iterator[int | None]:
    """Give the descriptor that each key can be read from as it is pressed; None where there is no terminal."""
    descriptor = sys.stdin.fileno()
    # A process in the background would be stopped by touching the terminal (termios(3), SIGTTOU).
    if not os.isatty(descriptor) or os.tcgetpgrp(descriptor) != os.getpgrp():
        yield None
        return
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSANOW)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
