"""The ledger as the edge sees it: accept, read, list and wait, on the event loop."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import Any

import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from runtime.ledger.intake import Intake
from runtime.ledger.keys import QUEUES, QueueKeys, queue_of
from runtime.ledger.news import News
from runtime.ledger.records import FINAL, Invocation, read_record
from runtime.ledger.scripts import script
from runtime.ledger.store import ResultStore
from runtime.ledger.wire import REPLY_TIMEOUT_S, unavailable

#: How far one page of a filtered list may look through an index.
SCAN_LIMIT = 5_000


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first, and the cursor of the next one."""

    invocations: list[Invocation]
    next: str | None


class AsyncLedger:
    """Accepts and reads invocations; belongs to one event loop.

    Every method raises `LedgerUnavailableError` while Redis is away or refuses to write.
    """

    def __init__(self, url: str, store: ResultStore) -> None:
        self._store = store
        self._intake = Intake(url)
        # Reads and the scripts run here may be repeated: one more try hides a connection that died idle.
        self._redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=REPLY_TIMEOUT_S,
            socket_connect_timeout=5.0,
            retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1),
            max_connections=64,
            protocol=2,
        )
        # A subscription is silent for as long as nothing changes, so its reads have no deadline.
        self._listener = redis.asyncio.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=5.0, health_check_interval=15, protocol=2
        )
        self.news = News(self._listener)
        self.accept = self._intake.accept

    async def start(self) -> None:
        """Begin to listen for changes."""
        await self.news.start()

    async def close(self) -> None:
        """Finish what is in flight and close all connections."""
        await self._intake.close()
        await self.news.close()
        await self._redis.aclose()
        await self._listener.aclose()

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self._do("PING")

    async def get(self, invocation_id: str) -> Invocation | None:
        """Return the record of an invocation; None when it never was or has expired."""
        queue = queue_of(invocation_id)
        if queue is None:
            return None
        fields = _pairs(await self._do("HGETALL", QueueKeys(queue).record(invocation_id)))
        return read_record(invocation_id, queue, fields) if fields else None

    async def result(self, invocation: Invocation) -> bytes | None:
        """Return the bytes of a result; None when they have expired."""
        if invocation.result is None:
            return None
        if invocation.result.place == "store":
            return await self._store.get(invocation.id)
        if invocation.result.size == 0:
            return b""
        body: bytes | None = await self._do("GET", QueueKeys(invocation.queue).result(invocation.id))
        return body

    async def output(self, invocation: Invocation, after: str = "0") -> list[tuple[str, bytes]]:
        """Return the output frames behind a stream id as (stream id, JSON), oldest first; at most 500."""
        key = QueueKeys(invocation.queue).output(invocation.id)
        entries = await self._do("XRANGE", key, f"({after}" if after != "0" else "-", "+", "COUNT", 500)
        return [(entry.decode(), fields[1]) for entry, fields in entries]

    async def watch(self, invocation_id: str) -> str | None:
        """Have `news` told of every change of an invocation; return its status, None when there is none."""
        queue = queue_of(invocation_id)
        if queue is None:
            return None
        lua = script("watch")
        base = QueueKeys(queue).base
        try:
            status = await self._redis.evalsha(lua.sha, 1, base, invocation_id)
        except redis.exceptions.NoScriptError:
            status = await self._redis.eval(lua.source.decode(), 1, base, invocation_id)
        except Exception as error:
            raise unavailable(error) or error from error
        return status.decode() if status else None

    async def wait(self, invocation_id: str, timeout_s: float) -> Invocation | None:
        """Return the record once it is final, or as it stands after `timeout_s` seconds."""
        with self.news.bell(invocation_id) as bell:
            status = await self.watch(invocation_id)
            if status is not None and status not in FINAL:
                await self.until_final(invocation_id, bell, timeout_s)
        return await self.get(invocation_id)

    async def until_final(self, invocation_id: str, bell: asyncio.Event, timeout_s: float) -> None:
        """Wait until a watched invocation is final, for at most `timeout_s` seconds."""
        queue = queue_of(invocation_id)
        assert queue is not None  # it was accepted or read under this id
        key = QueueKeys(queue).record(invocation_id)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    await bell.wait()
                    bell.clear()
                    status = await self._do("HGET", key, "status")
                    if status is None or status.decode() in FINAL:
                        return
        except TimeoutError:
            return

    async def page(
        self,
        *,
        function: str | None = None,
        status: str | None = None,
        since_ms: int = 0,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Return invocations of all queues, newest first. A page under a filter may be short, and still have a next.

        Raises:
            ValueError: the cursor is none of ours.
        """
        position = _read_cursor(cursor) if cursor else None
        candidates: list[tuple[int, str, str]] = []
        looked = SCAN_LIMIT if status else limit + 1
        for queue in sorted(name.decode() for name in await self._do("SMEMBERS", QUEUES)):
            key = QueueKeys(queue).index(function)
            highest = str(position[0]) if position else "+inf"
            members = await self._do("ZRANGE", key, highest, since_ms, "BYSCORE", "REV", "LIMIT", 0, looked + 64, "WITHSCORES")
            for member, score in zip(members[::2], members[1::2], strict=True):
                entry = (int(float(score)), member.decode())
                if position is None or entry < position:
                    candidates.append((*entry, queue))
        candidates.sort(reverse=True)
        found: list[Invocation] = []
        last: tuple[int, str] | None = None
        for start in range(0, min(len(candidates), looked), 100):
            for (accepted_ms, invocation_id, _), record in zip(
                candidates[start : start + 100], await self._records(candidates[start : start + 100]), strict=True
            ):
                if len(found) == limit:
                    return Page(found, _write_cursor(last))
                last = (accepted_ms, invocation_id)
                if record is not None and (status is None or record.status == status):
                    found.append(record)
        return Page(found, _write_cursor(last) if len(candidates) > looked else None)

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many attempts of each function ended how: {"thumbnail": {"succeeded": 12, "failed": 1}}."""
        counts: dict[str, dict[str, int]] = {}
        for queue in await self._do("SMEMBERS", QUEUES):
            for name, count in _pairs(await self._do("HGETALL", QueueKeys(queue.decode()).stats)).items():
                function, _, outcome = name.decode().rpartition(" ")
                counts.setdefault(function, {})[outcome] = int(count)
        return counts

    async def _records(self, members: list[tuple[int, str, str]]) -> list[Invocation | None]:
        pipeline = self._redis.pipeline(transaction=False)
        for _, invocation_id, queue in members:
            pipeline.execute_command("HGETALL", QueueKeys(queue).record(invocation_id), NEVER_DECODE=True)
        try:
            replies = await pipeline.execute()
        except Exception as error:
            raise unavailable(error) or error from error
        return [
            read_record(invocation_id, queue, fields) if (fields := _pairs(reply)) else None
            for (_, invocation_id, queue), reply in zip(members, replies, strict=True)
        ]

    async def _do(self, *command: Any) -> Any:
        try:
            return await self._redis.execute_command(*command)
        except Exception as error:
            raise unavailable(error) or error from error


def _pairs(reply: Any) -> dict[bytes, bytes]:
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _write_cursor(position: tuple[int, str] | None) -> str | None:
    if position is None:
        return None
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=tuple[int, str])
    except ValueError as error:
        raise ValueError(f"{cursor!r} is no cursor of this list; leave it out to start anew") from error
