"""uvicorn's HTTP protocol with what it lacks: deadlines for headers and bodies, bounds of the header block, and problem
documents for requests that never reach the application.

One timer a connection looks after both deadlines. It re-arms itself, so that a request costs no timer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from triggers.http.answers import ProblemError
from triggers.http.exchange import next_id

#: Seconds a request's headers may take from their first byte, and its body after them.
HEADERS_S = 10.0
BODY_S = 30.0
#: Bounds of the request's target, and of the header block (names, values, and four bytes for ": " and the line's end).
MAX_TARGET_BYTES = 16 * 1024
MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100

_MALFORMED = ProblemError(400, "malformed-request", "this is no valid HTTP request")
_TARGET_TOO_LONG = ProblemError(
    414, "target-too-long", f"a path and its query may take {MAX_TARGET_BYTES // 1024} KiB; send data in the body"
)
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
        self.url = b""
        # The request whose answer is due; `cycle` is the last one that came, which may still be queued behind it.
        self._answering: RequestResponseCycle | None = None
        # When the headers, or the body, of the current request began, on the loop's clock; None: not under way.
        self._headers_since: float | None = None
        self._body_since: float | None = None
        # Bytes of the header block that were parsed, and bytes that came for it after its first ones.
        self._header_bytes = 0
        self._further_bytes = 0
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
            self._further_bytes += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self._further_bytes > 2 * (MAX_TARGET_BYTES + MAX_HEADER_BYTES) and self._headers_since is not None:
            # a header or a target without an end, which the parser would collect for ever
            self._refuse(_TARGET_TOO_LONG if len(self.url) > MAX_TARGET_BYTES else _TOO_MANY_HEADERS)

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserError:
                self._refuse(self._refusal)
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                elif b"upgrade" in dict(self.headers):
                    data = self._without_upgrade() + data[upgrade.args[0] :]
                    continue
                else:
                    self._refuse(_MALFORMED)  # CONNECT
            return

    def _without_upgrade(self) -> bytes:
        """Return the head of a request that asks for an upgrade that is not made, like Java's client for HTTP/2, without it.

        The parser takes the body behind such a head for the other protocol, and would drop it (llhttp 9).
        """
        start = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = (b"%s: %s" % header for header in self.headers if header[0] != b"upgrade")
        return b"\r\n".join((start, *lines, b"\r\n"))

    def on_message_begin(self) -> None:
        self._header_bytes = self._further_bytes = 0
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
        if len(self.url) > MAX_TARGET_BYTES:
            self._refusal = _TARGET_TOO_LONG
            raise ValueError("too long a target")
        if self.parser.should_upgrade() and not self._should_upgrade():
            return  # it is read anew (_without_upgrade)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._body_since = None
        if self.parser.should_upgrade() and not self._should_upgrade():
            return
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._refuse(_MALFORMED)  # an answer is under way, and two protocols would write at once
            return
        if self._timer is not None:
            self._timer.cancel()  # the connection is another protocol's from now on, which has deadlines of its own
        super().handle_websocket_upgrade()
        made: Any = self.transport.get_protocol()
        if not made.handshake_initiated:
            # It has a body or a line of 8 KiB, which that protocol does not read; it would wait for ever.
            self._refuse(_MALFORMED)

    def _look(self) -> None:
        """See to the deadlines, and look again when the next one is due."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self.pipeline and self._body_since is not None:
            self._body_since = now  # it waits for an earlier answer, and reading is paused: nobody can be late
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
        if self.transport.is_closing():
            return
        cycle = self._answering
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                # What follows complete requests is bad. They keep their answers; then the connection ends.
                if self.pipeline and self.pipeline[0][0].more_body:
                    self.pipeline.popleft()
                last = self.pipeline[0][0] if self.pipeline else cycle
                last.keep_alive = False
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
