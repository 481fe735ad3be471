"""Who waits for an invocation is told, never polls: one subscription per process serves all its waiters.

Scripts publish the id of a watched invocation whenever it changes. After a lost connection every waiter is
woken once, so that what was published meanwhile is seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import redis.asyncio
from redis.exceptions import RedisError

from runtime.ledger.keys import NEWS_PATTERN
from runtime.ledger.wire import LOST


class News:
    """The subscription of one event loop to changes of watched invocations."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._bells: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen; returns at once, also while Redis is away."""
        self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @contextlib.contextmanager
    def bell(self, invocation_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the invocation changes. Who waits clears it and reads the record."""
        bell = asyncio.Event()
        self._bells.setdefault(invocation_id, set()).add(bell)
        try:
            yield bell
        finally:
            bells = self._bells[invocation_id]
            bells.discard(bell)
            if not bells:
                del self._bells[invocation_id]

    async def _listen(self) -> None:
        pause_s = 0.05
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.psubscribe(NEWS_PATTERN)
                    self._ring_all()
                    pause_s = 0.05
                    async for message in subscription.listen():
                        if message["type"] == "pmessage":
                            for bell in self._bells.get(message["data"].decode(errors="replace"), ()):
                                bell.set()
                        elif message["type"] == "psubscribe":
                            self._ring_all()
            except (RedisError, *LOST):
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, 2.0)

    def _ring_all(self) -> None:
        for bells in self._bells.values():
            for bell in bells:
                bell.set()
