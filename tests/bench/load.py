"""A load generator: keep-alive connections, each with one request in flight. Runs as a process of its own.

python load.py HOST PORT PATH CONNECTIONS SECONDS [HEADER…]    a HEADER is "Name: value"; {n} in it counts the requests
                                                      ->  one JSON line {"rate": …, "p50_ms": …, "p99_ms": …, "failed": …}
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop


class _Connection(asyncio.Protocol):
    def __init__(self, request: Callable[[], bytes], ends: float, latencies: list[float], failed: list[bytes]) -> None:
        self._request, self._ends = request, ends
        self._latencies, self._failed = latencies, failed
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        now = time.perf_counter()
        self._latencies.append(now - self._sent)
        if not head.startswith(b"HTTP/1.1 202"):
            self._failed.append(head)
        if now < self._ends:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._failed.append(repr(error).encode())
            self.done.set_result(None)


def requests(host: str, path: str, headers: list[str]) -> Callable[[], bytes]:
    """Return what gives the bytes of one request after the other."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", "Content-Length: 2", *headers]
    template = "\r\n".join(lines).encode() + b"\r\n\r\n{}"
    if b"{n}" not in template:
        return lambda: template
    numbers = itertools.count()
    before, _, after = template.partition(b"{n}")
    return lambda: b"%s%d%s" % (before, next(numbers), after)


async def drive(host: str, port: int, path: str, connections: int, seconds: float, headers: list[str]) -> dict[str, float]:
    """Load the server and return what was seen; rates per second, latencies in milliseconds."""
    request = requests(host, path, headers)
    latencies: list[float] = []
    failed: list[bytes] = []
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    ends = begun + seconds
    made = [
        await loop.create_connection(lambda: _Connection(request, ends, latencies, failed), host, port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    took = time.perf_counter() - begun
    latencies.sort()
    return {
        "rate": len(latencies) / took,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
        "failed": len(failed),
    }


if __name__ == "__main__":
    host, port, path, connections, seconds, *headers = sys.argv[1:]
    print(json.dumps(uvloop.run(drive(host, int(port), path, int(connections), float(seconds), headers))))
