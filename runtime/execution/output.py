"""What one call says while it runs: lines and progress, bounded and in order, handed on in batches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from runtime.execution.frames import MAX_LINE_CHARS

#: bounds of one invocation's output; what is beyond is counted and dropped
MAX_LINES: Final = 1000
MAX_CHARS: Final = 256 * 1024

#: seconds that output may wait for company before it is handed on
BATCH_S: Final = 0.05

_TAIL_BYTES = 4096
_LEVELS = {"stdout": "INFO", "stderr": "WARNING"}


class Output:
    """Collects the output of one call. Not thread-safe: it belongs to the thread that listens to the child."""

    __slots__ = ("_batch", "_chars", "_dropped", "_lines", "_on_output", "_partial", "_skipping", "due", "tail")

    def __init__(self, on_output: Callable[[list[dict[str, Any]]], None]) -> None:
        self._on_output = on_output
        self._batch: list[dict[str, Any]] = []
        self._partial: dict[str, bytes] = {}
        # Streams in the middle of a line whose kept part has been handed on already.
        self._skipping: set[str] = set()
        self._lines = self._chars = self._dropped = 0
        #: when the batch must be handed on, on the monotonic clock; None while it is empty
        self.due: float | None = None
        #: the last bytes of stderr, which tell why a child died
        self.tail = b""

    def text(self, stream: str, data: bytes) -> None:
        """Take what came out of "stdout" or "stderr"."""
        if stream == "stderr":
            self.tail = (self.tail + data)[-_TAIL_BYTES:]
        if self._is_full():
            # Nothing of it will be kept: count, and do not even split.
            self._dropped += data.count(b"\n")
            self._partial.pop(stream, None)
            return
        *lines, rest = (self._partial.pop(stream, b"") + data).split(b"\n")
        if lines and stream in self._skipping:
            self._skipping.discard(stream)
            del lines[0]
        for line in lines:
            self._line({"kind": "log", "stream": stream, "level": _LEVELS[stream]}, line.decode(errors="replace"))
        if len(rest) > MAX_LINE_CHARS and stream not in self._skipping:
            self._line({"kind": "log", "stream": stream, "level": _LEVELS[stream]}, rest.decode(errors="replace"))
            self._skipping.add(stream)
        if rest and stream not in self._skipping:
            self._partial[stream] = rest

    def record(self, meta: bytes) -> None:
        """Take a record of `logging`."""
        if self._is_full():
            self._dropped += 1
            return
        told = json.loads(meta)
        self._line({"kind": "log", "stream": "log", "level": told["level"], "logger": told["logger"]}, told["line"])

    def progress(self, meta: bytes) -> None:
        """Take a progress report; of several in a row, the newest stays."""
        if self._batch and self._batch[-1]["kind"] == "progress":
            self._batch.pop()
        self._add({"kind": "progress", **json.loads(meta)})

    def flush(self) -> None:
        """Hand on what is collected."""
        batch, self._batch, self.due = self._batch, [], None
        if batch:
            self._on_output(batch)

    def close(self) -> None:
        """Hand on the rest: unfinished lines, and how many lines were dropped."""
        for stream in list(self._partial):
            self.text(stream, b"\n")
        if self._dropped:
            line = f"… {self._dropped:,} more lines dropped"
            self._add({"kind": "log", "stream": "stderr", "level": "WARNING", "line": line})
        self.flush()

    def _is_full(self) -> bool:
        return self._lines >= MAX_LINES or self._chars >= MAX_CHARS

    def _line(self, frame: dict[str, Any], line: str) -> None:
        if self._is_full():
            self._dropped += 1
            return
        if len(line) > MAX_LINE_CHARS:
            line = line[: MAX_LINE_CHARS - 1] + "…"
        self._lines += 1
        self._chars += len(line)
        self._add({**frame, "line": line})

    def _add(self, frame: dict[str, Any]) -> None:
        self._batch.append(frame)
        if self.due is None:
            self.due = time.monotonic() + BATCH_S
