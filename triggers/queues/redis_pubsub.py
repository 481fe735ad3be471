"""Redis pub/sub: what is published while nobody listens is lost, and so is what comes faster than it can be handed over."""

from __future__ import annotations

import asyncio
import re

import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from triggers.queues.listener import FINISH_S, Desk, UnderWay, until_first
from triggers.queues.message import Message, SourceAwayError, SourceRefusedError

#: Messages under way; what comes beyond is dropped and counted as lost.
MOST = 10_000


class PubSubListener:
    """Listens to one channel, or to a pattern of channels."""

    def __init__(self, desk: Desk, url: str) -> None:
        self._desk = desk
        # A subscription may be silent for ever, so its reads have no deadline.
        self._redis = redis.asyncio.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=5.0, health_check_interval=15, protocol=2
        )
        self._under_way = UnderWay(MOST)

    async def run(self, stopping: asyncio.Event) -> None:
        """As `Listener.run`; there is nothing to give back."""
        try:
            await until_first(stopping, self._listen())
            await self._under_way.finish(FINISH_S)
        except ResponseError as error:
            raise SourceRefusedError(f"the channel {self._desk.source.name!r} cannot be read: {error}") from error
        except (RedisError, OSError) as error:
            raise SourceAwayError(f"Redis is away: {error}") from error
        finally:
            # What was heard cannot be heard again: a lost connection ends no hand-off.
            await self._under_way.finish(FINISH_S)
            await self._redis.aclose()

    async def _listen(self) -> None:
        channel = self._desk.source.name
        async with self._redis.pubsub() as subscription:
            subscribe = subscription.psubscribe if re.search(r"[*?\[]", channel) else subscription.subscribe
            await subscribe(channel)
            async for message in subscription.listen():
                if message["type"] in ("subscribe", "psubscribe"):
                    self._desk.report.now("running")
                elif self._under_way.room:
                    self._under_way.begin(self._settle(message))
                else:
                    self._desk.report.counts["lost"] += 1

    async def _settle(self, message: dict[str, bytes]) -> None:
        heard = Message(message["data"], None, subject=message["channel"].decode(errors="replace"))
        await self._desk.settle(heard, None)  # a channel keeps nothing: what cannot be read is in the log
