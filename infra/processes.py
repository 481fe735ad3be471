"""The child processes of `oncue up`: each tied to the supervisor's life, in a session of its own, its output read.

A session of its own keeps a terminal's Ctrl-C at the supervisor, which then stops the others in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra import tether

#: Seconds before a crashed process is started again: the first pause, the longest one.
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 10.0
#: A process that lived this long has recovered: its next crash counts as the first.
STEADY_AFTER_S = 30.0
#: A line longer than this is cut, unless the process is known to print longer ones; the rest of it is dropped.
MAX_LINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Program:
    """What a child process runs."""

    #: "web", "worker 0": how messages call it
    name: str
    command: list[str]
    #: seconds it may take to stop
    grace_s: float


class Backoff:
    """When something that keeps crashing is started again."""

    def __init__(self) -> None:
        self._crashes = 0
        self._due = 0.0

    def crashed(self) -> float:
        """Note a crash; return the seconds until the next start."""
        now = time.monotonic()
        if now > self._due + STEADY_AFTER_S:
            self._crashes = 0
        pause: float = min(BACKOFF_MIN_S * 2**self._crashes, BACKOFF_MAX_S)
        self._crashes += 1
        self._due = now + pause
        return pause

    def is_due(self) -> bool:
        return time.monotonic() >= self._due


class ChildProcess:
    """A program that is kept running: started again after a crash, with growing pauses."""

    def __init__(self, program: Program, environment: dict[str, str], max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.program = program
        self.name = program.name
        self.process: subprocess.Popen[bytes] | None = None
        #: says when it is to be started again
        self.backoff = Backoff()
        #: whether its output has come to its end
        self.is_silent = False
        self._environment = environment
        self._max_line_bytes = max_line_bytes
        self._buffer = b""
        self._skipping = False

    def start(self) -> None:
        """Start the program now. Call it from the main thread: the child ends with the thread that started it."""
        self.is_silent, self._buffer, self._skipping = False, b"", False
        self.process = subprocess.Popen(
            tether.command(self.program.command),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    @property
    def output(self) -> int:
        """The descriptor of what it prints."""
        assert self.process is not None
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def read_lines(self) -> Iterator[bytes]:
        """Yield the whole lines that have come since, without waiting; notes the end of the output."""
        while chunk := self._read():
            *lines, self._buffer = (self._buffer + chunk).split(b"\n")
            for line in lines:
                if not self._skipping:
                    yield line
                self._skipping = False
            if len(self._buffer) > self._max_line_bytes:
                if not self._skipping:
                    yield self._buffer
                self._buffer, self._skipping = b"", True

    def _read(self) -> bytes:
        try:
            chunk = os.read(self.output, 65536)
        except BlockingIOError:
            return b""
        self.is_silent = not chunk
        return chunk

    def ended(self) -> int:
        """Note that the process has ended; return its exit code."""
        assert self.process is not None
        assert self.process.stdout is not None
        code = self.process.wait()
        self.process.stdout.close()
        self.process = None
        return code

    def signal(self, number: signal.Signals) -> None:
        if self.is_running():
            assert self.process is not None
            self.process.send_signal(number)


def adopt_orphans() -> None:
    """Have the kernel hand this process whatever its descendants leave behind (Linux only; else init gets it)."""
    if Path("/proc/self/task").exists():
        import ctypes  # Linux only, and only here

        # PR_SET_CHILD_SUBREAPER, include/uapi/linux/prctl.h
        ctypes.CDLL(None).prctl(36, 1)


def end_orphans(known: set[int]) -> list[int]:
    """Kill and reap every child process of ours that is not `known`; return their pids.

    Whatever is our child without having been started by us was left behind by a descendant that ended.
    """
    ended = []
    for task in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, task.read_text().split()):
            if pid not in known:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                ended.append(pid)
    return ended
