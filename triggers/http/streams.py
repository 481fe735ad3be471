"""`GET /v1/invocations/{id}/events`: an invocation as it happens, as server-sent events; at `…/live` over a WebSocket.

    event: status
    data: {"id":"default-01j…","status":"running","attempt":1}

    id: 1738314000123-0
    event: log
    data: {"kind":"log","stream":"stdout","level":"INFO","line":"resized"}

    id: end
    event: status
    data: {"id":"default-01j…","status":"succeeded","attempt":1}

A WebSocket sends the same frames as texts: {"id":"1738314000123-0","event":"log","data":{…}}.

Output comes from a capped stream, so who joins late misses nothing; `Last-Event-ID` (or `?last_event_id=`) tells where to go
on. Nothing is polled: the ledger's news ring a bell.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import NamedTuple

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.records import Invocation
from runtime.ledger.wire import LedgerUnavailableError
from triggers.http.answers import Answer, encode_json
from triggers.http.invocations import missing
from triggers.http.waiting import Waits

#: Seconds of silence after which a comment keeps the connection open.
PING_S = 15.0

#: The id of the last frame; who comes back with it has seen all.
END = "end"

_PING = b": ping\n\n"


class Frame(NamedTuple):
    """One thing that happened: "status", "log" or "progress", its JSON, and the position to go on from."""

    event: str
    data: bytes
    position: str


class Streams:
    """The endpoint that streams an invocation."""

    def __init__(self, ledger: AsyncLedger, waits: Waits) -> None:
        self._ledger = ledger
        self._waits = waits

    def routes(self) -> list[Route]:
        """Return its route."""
        return [Route("/v1/invocations/{id}/events", self.events, methods=["GET"])]

    async def events(self, request: Request) -> Answer | _Response:
        """Answer the stream of an invocation; 204 to who has seen its end, so that a browser stops asking."""
        invocation_id = request.path_params["id"]
        last = request.headers.get("last-event-id") or request.query_params.get("last_event_id", "")
        if await self._ledger.watch(invocation_id) is None:
            raise missing(invocation_id)
        if last == END:
            return Answer(204, b"")
        return _Response(Story(self._ledger, self._waits, invocation_id, last))


class _Response:
    """A response that lasts until the invocation has ended or the caller is gone."""

    def __init__(self, story: Story) -> None:
        self._story = story

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would hold frames back
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] != "HEAD":
            watcher = asyncio.create_task(self._watch_caller(receive))
            try:
                async for frames in self._story.frames():
                    body = b"".join(map(_sse, frames)) if frames else _PING
                    await send({"type": "http.response.body", "body": body, "more_body": True})
            except LedgerUnavailableError:
                pass  # the stream ends before its last frame; a browser comes back with the position it has
            finally:
                watcher.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _watch_caller(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._story.stop()


class Story:
    """An invocation told from a position on, whoever listens. It has to be watched already (`AsyncLedger.watch`)."""

    def __init__(self, ledger: AsyncLedger, waits: Waits, invocation_id: str, last: str) -> None:
        self._ledger = ledger
        self._waits = waits
        self._id = invocation_id
        self._after = last if _is_position(last) else "0"
        self._told: tuple[str, int] | None = None
        self._is_over = False
        self._bell: asyncio.Event | None = None

    def stop(self) -> None:
        """End it, because nobody listens any more."""
        self._is_over = True
        if self._bell is not None:
            self._bell.set()

    async def frames(self) -> AsyncIterator[list[Frame]]:
        """Yield what happens, some frames at a time; none at all after `PING_S` seconds of silence.

        Raises:
            LedgerUnavailableError: it cannot be told to its end now.
        """
        with self._ledger.news.bell(self._id) as bell:
            self._bell = bell
            while not self._is_over:
                bell.clear()
                # The status first: whatever was written before the end is then among the output read after it.
                record = await self._ledger.get(self._id)
                output = await self._output(record)
                frames = self._status(record, is_end=False) + output
                if record is None or record.is_final:
                    while output:
                        output = await self._output(record)
                        frames += output
                    yield frames + (self._status(record, is_end=True) if record else [])
                    return
                if frames:
                    yield frames
                while not bell.is_set():
                    async with self._waits.at_most(PING_S):
                        await bell.wait()
                    if self._waits.closing.is_set():
                        return
                    if not bell.is_set():
                        yield []

    def _status(self, record: Invocation | None, *, is_end: bool) -> list[Frame]:
        if record is None or record.is_final is not is_end or self._told == (record.status, record.attempt):
            return []
        self._told = (record.status, record.attempt)
        document = {"id": record.id, "status": record.status, "attempt": record.attempt}
        if record.error and record.status in ("retrying", "failed", "cancelled"):
            document["error"] = {name: record.error.get(name) for name in ("kind", "type", "message")}
        return [Frame("status", encode_json(document), END if is_end else "")]

    async def _output(self, record: Invocation | None) -> list[Frame]:
        entries = await self._ledger.output(record, self._after) if record is not None else []
        if entries:
            self._after = entries[-1][0]
        return [Frame("progress" if _kind(data) == "progress" else "log", data, position) for position, data in entries]


def _sse(frame: Frame) -> bytes:
    place = f"id: {frame.position}\n" if frame.position else ""
    return b"%sevent: %s\ndata: %s\n\n" % (place.encode(), frame.event.encode(), frame.data)


def _kind(frame: bytes) -> str:
    kind: str = json.loads(frame).get("kind", "log")
    return kind


def _is_position(text: str) -> bool:
    ms, _, number = text.partition("-")
    return text.isascii() and ms.isdecimal() and number.isdecimal() and len(ms) <= 15 and len(number) <= 15
