"""Following something in Redis from an event loop: by notification, and by polling for what a lost message told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from runtime.ledger.wire import LOST, LedgerUnavailableError

#: Seconds until the next try after Redis has gone away, or a refresh has failed.
AGAIN_S = 1.0

#: What says that Redis is away. A plain RuntimeError is uvloop's word for a connection that was reset a moment ago.
AWAY = (RedisError, LedgerUnavailableError, *LOST)


class Follower:
    """Has `refresh` called whenever a channel speaks, and every `poll_s` seconds besides; belongs to one event loop."""

    def __init__(self, url: str, channel: str, refresh: Callable[[], Awaitable[None]], *, poll_s: float) -> None:
        self._listener = redis.asyncio.Redis.from_url(url, socket_timeout=None, health_check_interval=15, protocol=2)
        self._channel = channel
        self._refresh = refresh
        self._poll_s = poll_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._follow(), name=f"follower of {self._channel}")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            # `await self._task` would raise the task's end here, where it could not be told from a cancel of our own.
            await asyncio.wait((self._task,))
        await self._listener.aclose()

    async def _follow(self) -> None:
        failed: type[Exception] | None = None
        while True:
            try:
                async with self._listener.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    while True:
                        await self._refresh()
                        failed = None
                        await subscription.get_message(ignore_subscribe_messages=True, timeout=self._poll_s)
            except Exception as error:  # noqa: BLE001  # nobody starts this task again: the next change must be followed all the same
                if type(error) is not failed:  # the first of a series
                    self._log(error)
                failed = type(error)
                await asyncio.sleep(AGAIN_S)

    def _log(self, error: Exception) -> None:
        log = structlog.get_logger("oncue.follower").bind(channel=self._channel)
        if isinstance(error, AWAY):
            log.warning("changes wait until Redis is back", reason=str(error))
        else:
            log.error("a change could not be followed", exc_info=error)
