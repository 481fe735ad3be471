"""uvicorn's HTTP protocol with what it lacks: deadlines for headers, bodies and answers that nobody takes, bounds of the
header block and of a body's framing, and problem documents for requests that never reach the application.

One timer a connection looks after all deadlines. It re-arms itself, so that a request costs no timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
import termios
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from triggers.http.answers import ProblemError
from triggers.http.refusals import (
    BODY_LATE,
    BODY_S,
    FRAMING_PER_BYTE,
    HEADERS_LATE,
    HEADERS_S,
    MALFORMED,
    MAX_FRAMING_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_TARGET_BYTES,
    MOST_HEAD_BYTES,
    TARGET_TOO_LONG,
    TOO_MANY_HEADERS,
    TOO_MUCH_FRAMING,
    UNREAD_S,
    handshake_problem,
    is_consistent,
    wire,
)


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    #: as the constants say; tests shorten them
    headers_s = HEADERS_S
    body_s = BODY_S
    unread_s = UNREAD_S

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
        # Whether the current request asks for an upgrade that is not made.
        self._is_read_anew = False
        # Bytes that came for the current body after its first ones, less what its data may have around it.
        self._framing_bytes = 0
        # Bytes of answers that the caller has not taken yet, and since when it has taken none of them.
        self._unread_bytes = 0
        self._unread_since = 0.0
        self._refusal = MALFORMED
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._headers_since = self.loop.time()
        self._timer = self.loop.call_later(self.headers_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._disconnect()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._headers_since is None and self._body_since is None:
            # The next request begins, or a body goes on that nobody wants any more: both have the headers' deadline.
            self._headers_since = self.loop.time()
        elif self._headers_since is not None:
            self._further_bytes += len(data)
        else:
            self._framing_bytes = max(self._framing_bytes, 0) + len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self._headers_since is not None:
            if self._further_bytes > MOST_HEAD_BYTES:
                # a header or a target without an end, which the parser would collect for ever
                self._refuse(TARGET_TOO_LONG if len(self.url) > MAX_TARGET_BYTES else TOO_MANY_HEADERS)
        elif self._body_since is not None and self._framing_bytes > MAX_FRAMING_BYTES:
            self._refuse(TOO_MUCH_FRAMING)

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
                    self._refuse(MALFORMED)  # CONNECT
            return

    def _without_upgrade(self) -> bytes:
        """Return the head of a request that asks for an upgrade that is not made, like Java's client for HTTP/2, without it.

        The parser takes the body behind such a head for the other protocol, and would drop it (llhttp 9).
        """
        start = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = (b"%s: %s" % header for header in self.headers if header[0] != b"upgrade")
        return b"\r\n".join((start, *lines, b"\r\n"))

    def on_message_begin(self) -> None:
        self._header_bytes = self._further_bytes = self._framing_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._body_since is not None:
            return  # A trailer: a proxy that looks at headers has not seen it, so it is none of them (RFC 9110, section 6.5.1).
        self._header_bytes += len(name) + len(value) + 4
        super().on_header(name, value)
        if self._header_bytes > MAX_HEADER_BYTES or len(self.headers) > MAX_HEADERS:
            self._refusal = TOO_MANY_HEADERS
            raise ValueError("too many headers")  # the parser stops and says so to data_received

    def on_headers_complete(self) -> None:
        self._headers_since = None
        self._body_since = self.loop.time()
        if len(self.url) > MAX_TARGET_BYTES:
            self._refusal = TARGET_TOO_LONG
            raise ValueError("too long a target")
        self._is_read_anew = self.parser.should_upgrade() and not self._should_upgrade()
        if self._is_read_anew:
            return  # _without_upgrade
        if self.url[:1] != b"/" and not is_consistent(self.url, dict(self.headers)):
            raise ValueError("two hosts")
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # RFC 9110, section 10.1.1: such a client knows no interim answers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= FRAMING_PER_BYTE * len(body)
        HttpToolsProtocol.on_body(self, body)  # once a request: `super` is slower

    def on_message_complete(self) -> None:
        self._body_since = None
        if self._is_read_anew:
            return
        super().on_message_complete()

    def resume_writing(self) -> None:
        self._unread_since = self.loop.time()
        super().resume_writing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._refuse(MALFORMED)  # an answer is under way, and two protocols would write at once
            return
        if (problem := handshake_problem(self.scope["method"], dict(self.headers))) is not None:
            self._refuse(problem)
            return
        if self._timer is not None:
            self._timer.cancel()  # the connection is another protocol's from now on, which has deadlines of its own
        super().handle_websocket_upgrade()
        made: Any = self.transport.get_protocol()
        if not made.handshake_initiated:
            # It has a body or a line of 8 KiB, which that protocol does not read; it would wait for ever.
            self._refuse(MALFORMED)

    def _look(self) -> None:
        """See to the deadlines, and look again when the next one is due."""
        now = self.loop.time()
        before, self._unread_bytes = self._unread_bytes, self._count_unread()
        if not before or self._unread_bytes < before:
            self._unread_since = now
        elif now >= self._unread_since + self.unread_s:
            self._disconnect()
            self.transport.abort()
            return
        if self.pipeline and self._body_since is not None:
            self._body_since = now  # it waits for an earlier answer, and reading is paused: nobody can be late
        due = [now + self.headers_s]
        for since, allowed_s, problem in (
            (self._headers_since, self.headers_s, HEADERS_LATE),
            (self._body_since, self.body_s, BODY_LATE),
        ):
            if since is not None and now < since + allowed_s:
                due.append(since + allowed_s)
            elif since is not None:
                self._refuse(problem)
        self._timer = self.loop.call_later(min(due) - now, self._look)

    def _count_unread(self) -> int:
        """Return the bytes that wait for the caller: here, and, when some wait here, in the system's buffer.

        That one holds megabytes, and has room for more only once a third of it has gone, which takes a slow caller minutes.
        """
        count = self.transport.get_write_buffer_size()
        if count:
            queued = bytearray(4)
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.transport.get_extra_info("socket"), termios.TIOCOUTQ, queued)
            count += int.from_bytes(queued, sys.byteorder)
        return count

    def _disconnect(self) -> None:
        """Tell who answers that nobody listens any more; uvicorn tells the last request that came, which may be another."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

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
            self._disconnect()
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(wire(problem))
        self.transport.close()
