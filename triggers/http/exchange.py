"""One request and the way back to its caller, with the headers read once."""

from __future__ import annotations

import itertools
import os
import time

from starlette.types import Message, Receive, Scope, Send

from triggers.http.access.callers import Caller
from triggers.http.answers import Header, ProblemError

#: Headers that mean one thing only; a request that says two is refused, since every reader might pick another.
_SINGLE = frozenset((b"authorization", b"content-encoding", b"content-length", b"content-type", b"host", b"idempotency-key"))

_ID_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~:/+="
_MAX_ID_BYTES = 128

#: The scope's name for the exchange, for endpoints behind Starlette's router.
EXCHANGE = "oncue.exchange"

#: Ids that this process gives: a random part of its own, and a count.
_process = os.urandom(6).hex().encode()
_count = itertools.count(1)


def next_id() -> bytes:
    """Return an id for a request that brought none."""
    return b"%s-%x" % (_process, next(_count))


class ClientGoneError(Exception):
    """The caller hung up; nobody is left to answer."""


class Exchange:
    """A request, and `send`, which puts the request's id on whatever answer leaves."""

    __slots__ = (
        *(
            "_began",
            "_send",
            "body",
            "caller",
            "fault",
            "further_headers",
            "has_answered",
            "headers",
            "is_noted",
            "latency_s",
            "receive",
        ),
        *("request_id", "route", "scope", "status"),
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self.has_answered = False
        #: the status it was answered with, 0 before; and the seconds until its answer began
        self.status = 0
        self.latency_s = 0.0
        self._began = time.perf_counter()
        #: headers of the answer, whatever it will be
        self.further_headers: list[Header] = []
        #: who sent it, once the guard has looked; the path, or the declared route that it fits
        self.caller: Caller | None = None
        self.route = ""
        #: whether the audit notes it
        self.is_noted = False
        #: the raw body, once it has been read
        self.body = b""
        #: why the request cannot be served, whatever it asks for
        self.fault: ProblemError | None = None
        given = scope["headers"]
        #: by lower-case name; repeated ones joined
        self.headers: dict[bytes, bytes] = dict(given)
        if len(self.headers) != len(given):
            self._join(given)
        version = scope["http_version"]
        if version != "1.1" or b"host" not in self.headers:
            self._check_version(version)
        asked = self.headers.get(b"x-request-id", b"")
        is_fit = 0 < len(asked) <= _MAX_ID_BYTES and not asked.translate(None, _ID_BYTES)
        self.request_id: bytes = asked if is_fit else next_id()

    @property
    def path(self) -> str:
        path: str = self.scope["path"]
        return path

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    async def send(self, message: Message) -> None:
        """Send an ASGI message."""
        if message["type"] == "http.response.start":
            self.has_answered = True
            self.status = message["status"]
            self.latency_s = time.perf_counter() - self._began
            message["headers"] += ((b"x-request-id", self.request_id), *self.further_headers)
        await self._send(message)

    def _check_version(self, version: str) -> None:
        """Refuse what the parser lets pass: what only HTTP/1.1 may say, and the versions that are none of ours."""
        if version == "1.1":
            self.fault = ProblemError(400, "malformed-request", "a request of HTTP/1.1 names its host; add the header Host")
        elif version != "1.0" or b"transfer-encoding" in self.headers:
            # RFC 9112, section 6.1: chunks in a request of HTTP/1.0 have been framed by somebody who may not know them.
            close = (b"connection", b"close")
            self.fault = ProblemError(400, "malformed-request", "this is no request of HTTP/1.1", headers=[close])

    def _join(self, given: list[tuple[bytes, bytes]]) -> None:
        seen: set[bytes] = set()
        for name, value in given:
            if name not in seen:
                seen.add(name)
                self.headers[name] = value
            elif name in _SINGLE:
                self.fault = ProblemError(
                    400, "repeated-header", f"the header {name.decode('latin-1')} is given twice; send it once"
                )
            else:
                self.headers[name] += b", " + value
