"""Reads of one process on the event loop: whatever is asked while a write is in flight goes out as the next single write.

One connection serves thousands of waiters; a pool would open a socket for each, or refuse.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from runtime.ledger.scripts import script
from runtime.ledger.wire import AsyncWire, Command, LedgerUnavailableError, unavailable

#: Commands in one write. Replies may be large, and the last caller waits for all of them.
MAX_BATCH = 256


class Reads:
    """Sends commands that may safely be sent twice; belongs to one event loop."""

    def __init__(self, url: str) -> None:
        self._wire = AsyncWire(url)
        self._pending: list[tuple[Command, asyncio.Future[Any]]] = []
        self._sender: asyncio.Task[None] | None = None

    def do(self, *command: str | bytes | float) -> asyncio.Future[Any]:
        """Send a command with the next batch; the future has its reply, raw.

        Raises (from the future):
            LedgerUnavailableError: Redis is away or refuses.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self._pending.append((command, reply))
        if self._sender is None:
            self._sender = loop.create_task(self._send())
        return reply

    async def run(self, name: str, base: str, *arguments: str | bytes | float) -> Any:
        """Run a script that may safely run twice, and return its reply. Raises as `do`."""
        lua = script(name)
        try:
            return await self.do("EVALSHA", lua.sha, 1, base, *arguments)
        except NoScriptError:
            return await self.do("EVAL", lua.source, 1, base, *arguments)

    async def close(self) -> None:
        """Finish what is in flight and close the connection."""
        if self._sender is not None:
            await asyncio.gather(self._sender, return_exceptions=True)
        await self._wire.close()

    async def _send(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
                try:
                    replies = await self._replies([command for command, _ in batch])
                except Exception as error:  # noqa: BLE001  # whatever it was, each caller must hear of it
                    replies = [error] * len(batch)
                for (_, answer), reply in zip(batch, replies, strict=True):
                    if answer.done():
                        continue  # nobody waits for it any more
                    if isinstance(reply, Exception):
                        answer.set_exception(_meaning(reply))
                    else:
                        answer.set_result(reply)
        finally:
            self._sender = None

    async def _replies(self, commands: list[Command]) -> list[Any]:
        try:
            return await self._wire.send(*commands)
        except LedgerUnavailableError:
            return await self._wire.send(*commands)  # an idle connection may have died unseen


def _meaning(error: Exception) -> Exception:
    return (unavailable(error) if isinstance(error, ResponseError) else None) or error
