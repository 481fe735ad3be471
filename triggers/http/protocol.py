"""uvicorn's HTTP protocol with what it lacks: deadlines for headers and bodies, bounds of the header block, and problem
documents for requests that never reach the application.

One timer a connection looks after both deadlines. It re-arms itself, so that a request costs no timer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from triggers.http.answers import ProblemError
from triggers.http.exchange import next_id

#: Seconds a request's headers may take from their first byte, and its body after them.
HEADERS_S = 10.0
BODY_S = 30.0
#: Bounds of the header block (names, values, and four bytes for ": " and the line's end).
MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100

_MALFORMED = ProblemError(400, "malformed-request", "this is no valid HTTP request")
_TOO_MANY_HEADERS = ProblemError(
    431, "headers-too-large", f"headers may take {MAX_HEADER_BYTES // 1024} KiB and {MAX_HEADERS} lines; send fewer"
)
_HEADERS_LATE = ProblemError(408, "headers-timeout", f"the headers did not arrive within {HEADERS_S:g} s")
_BODY_LATE = ProblemError(408, "body-timeout", f"the body did not arrive within {BODY_S:g} s")


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    #: as the constants say; tests shorten them
    headers_s = HEADERS_S
    body_s = BODY_S

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # When the headers, or the body, of the current request began, on the loop's clock; None: not under way.
        self._headers_since: float | None = None
        self._body_since: float | None = None
        self._header_bytes = 0
        self._refusal = _MALFORMED
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._headers_since = self.loop.time()
        self._timer = self.loop.call_later(self.headers_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._headers_since is None and self._body_since is None:
            # The next request begins, or a body goes on that nobody wants any more: both have the headers' deadline.
            self._headers_since = self.loop.time()
        elif self._headers_since is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._header_bytes > 2 * MAX_HEADER_BYTES and self._headers_since is not None:
            self._refuse(_TOO_MANY_HEADERS)  # a header without an end, which the parser would collect for ever

    def on_message_begin(self) -> None:
        self._header_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 4
        super().on_header(name, value)
        if self._header_bytes > MAX_HEADER_BYTES or len(self.headers) > MAX_HEADERS:
            self._refusal = _TOO_MANY_HEADERS
            raise ValueError("too many headers")  # the parser stops and says so to data_received

    def on_headers_complete(self) -> None:
        self._headers_since = None
        self._body_since = self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._body_since = None
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        if self._timer is not None:
            self._timer.cancel()  # the connection is another protocol's from now on, which has deadlines of its own
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn when the parser gives up."""
        self._refuse(self._refusal)

    def _look(self) -> None:
        """See to the deadlines, and look again when the next one is due."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self._headers_since is not None and now >= self._headers_since + self.headers_s:
            self._refuse(_HEADERS_LATE)
            return
        if self._body_since is not None and now >= self._body_since + self.body_s:
            self._refuse(_BODY_LATE)
            return
        due = [now + self.headers_s]
        if self._headers_since is not None:
            due.append(self._headers_since + self.headers_s)
        if self._body_since is not None:
            due.append(self._body_since + self.body_s)
        self._timer = self.loop.call_later(min(due) - now, self._look)

    def _refuse(self, problem: ProblemError) -> None:
        """Say why, unless an answer is already under way, and close."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                # What follows a complete request is bad. That request keeps its answer; then the connection ends.
                cycle.keep_alive = False
                self.pipeline.clear()
                self.flow.pause_reading()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_wire(problem))
        self.transport.close()


def _wire(problem: ProblemError) -> bytes:
    request_id = next_id()
    answer = problem.answer("", request_id.decode())
    return b"%scontent-type: %s\r\ncontent-length: %d\r\nx-request-id: %s\r\nconnection: close\r\n\r\n%s" % (
        STATUS_LINE[problem.status],
        answer.media_type,
        len(answer.body),
        request_id,
        answer.body,
    )
