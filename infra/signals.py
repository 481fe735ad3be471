"""What asks the supervisor to stop: SIGINT, SIGTERM and SIGHUP, counted, and a descriptor that wakes who waits for them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Counts the signals that ask to stop, while they are `heard`."""

    def __init__(self) -> None:
        #: how often it was asked to stop
        self.count = 0

    @contextlib.contextmanager
    def heard(self) -> Iterator[int]:
        """Take the signals over; give a descriptor that can be read from whenever one has come, or a child has ended."""
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        before = {number: signal.signal(number, self._note) for number in STOPPING}
        # The end of a child wakes the waiting one, too; its handler has nothing else to do.
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        before_fd = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            yield woken.fileno()
        finally:
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            wake.close()
            woken.close()

    def _note(self, *_: object) -> None:
        self.count += 1


def drain(descriptor: int) -> None:
    """Take the bytes that woke us; one is written for each signal."""
    os.read(descriptor, 4096)
