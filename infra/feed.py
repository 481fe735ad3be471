"""What `oncue up` prints: the server, its functions, what changes, and one line per finished invocation.

12:03:04  thumbnail     succeeded     34 ms  01J9ZK…
12:03:05  … 4,312 more in the last second: 4,310 succeeded, 2 failed

A worker says on its stdout, one JSON line each:
{"kind": "finished", "id": …, "function": …, "status": …, "duration_ms": …, "attempt": …, "error": …}
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

#: Lines of finished invocations shown each second; the others are counted.
MAX_LINES_PER_S = 50
#: Lines that wait for a slow terminal; more are dropped and counted.
MAX_WAITING_LINES = 2000

_STYLES = {"succeeded": "green", "failed": "red", "retrying": "yellow", "cancelled": "dim"}


class Finished(msgspec.Struct, tag_field="kind", tag="finished"):
    """One attempt's end, as a worker tells it."""

    id: str
    function: str
    #: succeeded, failed, retrying or cancelled
    status: str
    duration_ms: float
    attempt: int = 1
    error: str | None = None


class Feed:
    """Writes lines to the terminal from a thread of its own: a terminal that stands still holds nobody up."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: queue.Queue[Text | None] = queue.Queue()
        self._dropped = 0
        self._second = 0
        self._shown = 0
        self._counted: Counter[str] = Counter()
        self._decode = msgspec.json.Decoder(Finished).decode
        self._thread = threading.Thread(target=self._write, name="feed", daemon=True)
        self._thread.start()

    def line(self, *parts: Any, style: str = "") -> None:
        """Print one line of words and `(words, style)` pairs. Never blocks."""
        if self._lines.qsize() >= MAX_WAITING_LINES:
            self._dropped += 1
            return
        if self._dropped:
            self._lines.put(Text(f"… {self._dropped:,} lines dropped: the terminal was too slow", style="yellow"))
            self._dropped = 0
        self._lines.put(Text.assemble(*parts, style=style))

    def output(self, name: str, line: bytes) -> None:
        """Print what the process `name` wrote: a finished invocation as its line, anything else as it is."""
        if line.startswith(b'{"kind":'):
            try:
                return self.finished(self._decode(line))
            except msgspec.DecodeError:
                pass  # a log line of another kind
        self.line((f"{name} │ ", "dim"), Text.from_ansi(line.decode(errors="replace")))
        return None

    def finished(self, invocation: Finished) -> None:
        """Print one finished invocation, or count it when this second has had its lines."""
        self.tick()
        if self._shown >= MAX_LINES_PER_S:
            self._counted[invocation.status] += 1
            return
        self._shown += 1
        attempt = f"  attempt {invocation.attempt}" if invocation.attempt > 1 else ""
        self.line(
            (f"{datetime.now().astimezone():%H:%M:%S}  ", "dim"),
            f"{invocation.function:<20}  ",
            (f"{invocation.status:<10}", _STYLES.get(invocation.status, "")),
            f"{_duration(invocation.duration_ms):>9}  ",
            (invocation.id, "dim"),
            (attempt, "yellow"),
            (f"  {invocation.error}" if invocation.error else "", "red"),
        )

    def tick(self) -> None:
        """Print what was counted once its second is over. Call it a few times a second."""
        second = int(time.monotonic())
        if second == self._second:
            return
        self._second, self._shown = second, 0
        if self._counted:
            words = ", ".join(f"{count:,} {status}" for status, count in self._counted.most_common())
            self.line((f"          … {self._counted.total():,} more in the last second: {words}", "dim"))
            self._counted.clear()

    def close(self) -> None:
        """Print what still waits, for at most a second."""
        self._second = -1
        self.tick()
        self._lines.put(None)
        self._thread.join(1.0)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with self._console.capture() as rendered:
                self._console.print(line, soft_wrap=True, highlight=False)
            try:
                self._console.file.write(rendered.get())
                self._console.file.flush()
            except OSError:
                # Nobody reads any more; what runs goes on, and what is left in the buffer goes nowhere.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._console.file.fileno())
                return


def _duration(ms: float) -> str:
    if ms < 1:
        return f"{ms:.2f} ms"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
