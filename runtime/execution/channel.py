"""The child's end of its socket: frames up, one call or answer at a time down, and `logging` as frames."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable

from runtime.authoring.errors import OnCueError
from runtime.execution import frames


class Channel:
    """The child's end of the socket; any thread may send."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self._reader, self._lock = link, frames.FrameReader(), threading.Lock()
        self._asking = threading.Lock()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        # What the author's code forks is not the child: it must neither speak for it nor hold the socket open.
        self._link.close()
        self._lock = threading.Lock()
        self._asking = threading.Lock()

    def await_answers(self) -> None:
        """Return when no thread waits for an answer any more."""
        with self._asking:
            pass

    @property
    def is_open(self) -> bool:
        return self._link.fileno() >= 0

    def receive(self) -> frames.Frame | None:
        while (found := self._reader.read(self._link)) == []:
            pass
        return found[0] if found else None

    def send(self, kind: int, meta: bytes = b"", body: bytes = b"", flags: int = 0) -> None:
        if not self.is_open:
            raise RuntimeError("only the process that runs the handler can use its Context; return values to it instead")
        with self._lock:
            self._link.sendall(frames.pack(kind, meta, body, flags))

    def ask(self, kind: int, meta: bytes, may_ask: Callable[[], bool]) -> frames.Frame:
        """Send a question and wait for its answer; of several threads, one at a time.

        Raises:
            OnCueError: the handler has returned, so that the next frame to come is another call.
        """
        with self._asking:
            if not may_ask():
                raise OnCueError("ctx.artifact was called after the handler had returned; call it before")
            self.send(kind, meta)
            answer = self.receive()
        if answer is None:
            raise OnCueError("the worker is gone")
        return answer


class LogFrames(logging.Handler):
    """Sends each record up as a frame, with its level and logger."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)[: frames.MAX_LINE_CHARS + 1]  # the worker keeps no more, and marks the cut
            if self._channel.is_open:
                meta = {"level": record.levelname, "logger": record.name, "line": line}
                self._channel.send(frames.LOG, frames.to_meta(meta))
            else:
                sys.stderr.write(line + "\n")
        except Exception:  # noqa: BLE001  # as every logging handler does: a bad record must not end the handler's work
            self.handleError(record)
