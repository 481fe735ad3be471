"""`/v1/invocations/{id}/live`: the frames of streams.py over a WebSocket, each as one text.

{"id": "1738314000123-0", "event": "log", "data": {"kind": "log", …}}

It closes with 1000 after the last frame, and with 1012 when the server stops or Redis is away: come back with the last id.
"""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qs

from starlette.types import Message, Receive, Send

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.wire import LedgerUnavailableError
from triggers.http.answers import ProblemError
from triggers.http.exchange import Exchange
from triggers.http.invocations import missing
from triggers.http.streams import END, Frame, Story
from triggers.http.waiting import Waits

#: Bytes of a message that a caller may send; none of them means anything.
MAX_MESSAGE_BYTES = 1024

_PATH = re.compile(r"/v1/invocations/([^/]+)/live")
_DONE, _COME_BACK = 1000, 1012  # RFC 6455, section 7.4.1, and the registry of close codes


class Live:
    """The endpoint that streams an invocation to a WebSocket."""

    def __init__(self, ledger: AsyncLedger, waits: Waits) -> None:
        self._ledger = ledger
        self._waits = waits

    async def serve(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        """Send an invocation's frames until it has ended or the caller is gone.

        Raises:
            ProblemError: before the connection is made: 403 for a page of another site, 404 when there is nothing here.
        """
        match = _PATH.fullmatch(exchange.path)
        if match is None:
            raise ProblemError(404, "not-found", "no WebSocket is served at this path")
        _refuse_foreign_origin(exchange)
        if await self._ledger.watch(match[1]) is None:
            raise missing(match[1])
        asked = parse_qs(exchange.scope["query_string"].decode("latin-1")).get("last_event_id", [""])[-1]
        last = exchange.headers.get(b"last-event-id", b"").decode("latin-1") or asked
        await receive()  # "websocket.connect"
        await send({"type": "websocket.accept", "headers": [(b"x-request-id", exchange.request_id)]})
        exchange.has_answered, exchange.status = True, 101
        code = _DONE if last == END else await self._tell(Story(self._ledger, self._waits, match[1], last), receive, send)
        if code is not None:
            await send({"type": "websocket.close", "code": code})

    async def _tell(self, story: Story, receive: Receive, send: Send) -> int | None:
        """Return the code to close with; None when the caller has closed."""
        watcher = asyncio.create_task(_watch_caller(story, receive))
        is_told = False
        try:
            async for frames in story.frames():
                for frame in frames:
                    await send({"type": "websocket.send", "text": _text(frame)})
                    is_told = frame.position == END
        except LedgerUnavailableError:
            pass
        except OSError:  # the connection broke while a frame was sent (ASGI: send raises a subclass of it)
            return None
        finally:
            watcher.cancel()
        return None if watcher.done() else _DONE if is_told else _COME_BACK


def denial(send: Send) -> Send:
    """Return the way to answer a WebSocket's request by HTTP instead (ASGI extension "websocket.http.response")."""

    async def deny(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return deny


async def _watch_caller(story: Story, receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass
    story.stop()


def _refuse_foreign_origin(exchange: Exchange) -> None:
    """Browsers let any page open a WebSocket anywhere, and send it what they know; they do say which page it was."""
    origin = exchange.headers.get(b"origin")
    if origin is not None and origin.partition(b"://")[2] != exchange.headers.get(b"host"):
        raise ProblemError(403, "foreign-origin", "a page of another site may not open this WebSocket")


def _text(frame: Frame) -> str:
    place = f'"id":"{frame.position}",' if frame.position else ""
    return f'{{{place}"event":"{frame.event}","data":{frame.data.decode()}}}'
