"""A TCP proxy before a server on a Unix socket, which can break connections in the ways a network does.

with Proxy(socket_path) as proxy:
    redis.Redis.from_url(proxy.url)
    proxy.sever()                       # every connection is reset
    proxy.hold(); proxy.let_through()   # a partition: bytes wait, as they would for a retransmission
    proxy.cut(Reply(...))               # one request gets through, its reply does not
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Reply:
    """Names one reply: the next one that holds `holds`, to a request that held `request`."""

    request: bytes
    holds: bytes


class Proxy:
    """Listens on a free loopback port, on an event loop in a thread of its own."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._to_cut: Reply | None = None
        #: set once the reply named to `cut` has been kept back
        self.has_cut = threading.Event()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def sever(self) -> int:
        """Reset every connection; return how many there were."""
        return self._do(self._sever())

    def hold(self) -> None:
        """Let nothing through any more; connections stay, new ones are taken and get no answer."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def let_through(self) -> None:
        """End `hold`: what waited goes on its way."""
        self._loop.call_soon_threadsafe(self._open.set)

    def cut(self, reply: Reply) -> None:
        """Keep back one reply and reset its connection; `has_cut` tells when that has happened."""
        self.has_cut.clear()
        self._to_cut = reply

    def _do(self, work):  # type: ignore[no-untyped-def]  # passes any coroutine's value on
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _sever(self) -> int:
        writers = list(self._writers)
        for writer in writers:
            _reset(writer)
        return len(writers)

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._open.wait()
            theirs, ours = await asyncio.open_unix_connection(self._target)
            asked = bytearray()
            pumps = [
                asyncio.create_task(self._ask(reader, ours, asked)),
                asyncio.create_task(self._answer(theirs, writer, asked)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                ours.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # the server is away, or the proxy ends: the connection below ends with it
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            _reset(writer)

    async def _ask(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, asked: bytearray) -> None:
        while data := await reader.read(2**16):
            await self._open.wait()
            asked += data
            server.write(data)
            await server.drain()

    async def _answer(self, server: asyncio.StreamReader, client: asyncio.StreamWriter, asked: bytearray) -> None:
        while data := await server.read(2**16):
            await self._open.wait()
            reply = self._to_cut
            if reply is not None and reply.request in asked and reply.holds in data:
                self._to_cut = None
                self.has_cut.set()
                return
            asked.clear()
            client.write(data)
            await client.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST (SO_LINGER of zero seconds, socket(7)), not with FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
