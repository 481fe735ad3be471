"""A steady load: so many requests a second, whatever becomes of the answers. Light, so that it is not what is measured."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable

import httpx

#: Connections, each with one request in flight.
CONNECTIONS = 32


async def invoke_steadily(url: str, path: str, rate: int, goes_on: Callable[[], bool]) -> dict[str, float]:
    """POST `{}` to a path `rate` times a second; return when each was due (s since 1970), by the id that it was accepted as.

    Raises:
        AssertionError: an answer was no 202.
    """
    at = httpx.URL(url)
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {at.netloc.decode()}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    ).encode()
    due: asyncio.Queue[float] = asyncio.Queue()
    accepted: dict[str, float] = {}

    async def send() -> None:
        reader, writer = await asyncio.open_connection(at.host, at.port)
        while (moment := await due.get()) > 0:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            assert head.startswith(b"http/1.1 202 "), head + body
            accepted[json.loads(body)["id"]] = moment
        writer.close()
        await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(send())
        began = time.monotonic()
        for n in itertools.count():
            await asyncio.sleep(max(0.0, began + n / rate - time.monotonic()))
            if not goes_on():
                break
            due.put_nowait(time.time())
        for _ in range(CONNECTIONS):
            due.put_nowait(0)
    return accepted


def longest_pause(due: dict[str, float], started: dict[str, float]) -> float:
    """Return the longest time, seconds, in which something was due to start and nothing started."""
    ids = sorted(started, key=started.__getitem__)
    #: the earliest moment at which any of ids[n:] was due
    earliest = list(itertools.accumulate((due[id] for id in reversed(ids)), min))[::-1]
    pauses = (
        started[after] - max(started[before], waiting)
        for (before, after), waiting in zip(itertools.pairwise(ids), earliest[1:], strict=True)
    )
    return max(pauses)
