"""The ledger as the edge sees it: accept, read, list and wait, on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import redis.asyncio

from runtime.ledger.cursors import read_cursor, write_cursor
from runtime.ledger.intake import Intake
from runtime.ledger.keys import QUEUES, QueueKeys, queue_of
from runtime.ledger.news import News
from runtime.ledger.reads import Reads
from runtime.ledger.records import FINAL, Invocation, read_record
from runtime.ledger.store import ResultStore

#: How far one page of a list may look through an index, and how far at a time once it has met expired records.
SCAN_LIMIT = 5_000
_STEP = 500

#: What readers ask of a record: all but the input, which may be large, and what only workers need.
_FIELDS = (
    *("function", "version", "status", "attempt", "accepted_ms", "due_ms", "started_ms", "ended_ms", "key", "lost", "deaths"),
    *("error", "result", "result_until_ms", "progress", "replay_of", "replayed_as", "callback", "callbacks", "called_back"),
)
#: Attempts that come with the first look at a record; few have more.
_FIRST_ATTEMPTS = 4
_ASKED = (*_FIELDS, *(f"a{n}" for n in range(1, _FIRST_ATTEMPTS + 1)))
_NAMES = [name.encode() for name in _ASKED]


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
        #: commands that may be sent twice, batched
        self.reads = Reads(url)
        # A subscription is silent for as long as nothing changes, so its reads have no deadline.
        self._listener = redis.asyncio.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=5.0, health_check_interval=15, protocol=2
        )
        self.news = News(self._listener)
        self.accept = self._intake.accept
        #: (function, outcome) -> how many acceptances of this process ended so
        self.accepts = self._intake.accepts

    async def start(self) -> None:
        """Begin to listen for changes."""
        await self.news.start()

    async def close(self) -> None:
        """Finish what is in flight and close all connections."""
        await self._intake.close()
        await self.news.close()
        await self.reads.close()
        await self._listener.aclose()

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self.reads.do("PING")

    async def get(self, invocation_id: str) -> Invocation | None:
        """Return the record of an invocation; None when it never was or has expired."""
        queue = queue_of(invocation_id)
        if queue is None:
            return None
        return await self._record(invocation_id, queue)

    async def result(self, invocation: Invocation) -> bytes | None:
        """Return the bytes of a result; None when they have expired."""
        if invocation.result is None:
            return None
        if invocation.result.place == "store":
            return await self._store.get(invocation.id, invocation.result.sha256)
        if invocation.result.size == 0:
            return b""
        body: bytes | None = await self.reads.do("GET", QueueKeys(invocation.queue).result(invocation.id))
        return body

    async def input(self, invocation: Invocation) -> tuple[bytes, bytes | None] | None:
        """Return what an invocation was accepted with: its event's JSON document and a raw body; None when it is gone."""
        key = QueueKeys(invocation.queue).record(invocation.id)
        event, blob = await self.reads.do("HMGET", key, "event", "blob")
        return None if event is None else (event, blob)

    async def output(self, invocation: Invocation, after: str = "0") -> list[tuple[str, bytes]]:
        """Return the output frames behind a stream id as (stream id, JSON), oldest first; at most 500."""
        key = QueueKeys(invocation.queue).output(invocation.id)
        entries = await self.reads.do("XRANGE", key, f"({after}" if after != "0" else "-", "+", "COUNT", 500)
        return [(entry.decode(), fields[1]) for entry, fields in entries]

    async def watch(self, invocation_id: str) -> str | None:
        """Have `news` told of every change of an invocation; return its status, None when there is none."""
        queue = queue_of(invocation_id)
        if queue is None:
            return None
        status: bytes | None = await self.reads.run("watch", QueueKeys(queue).base, invocation_id)
        return status.decode() if status else None

    async def wait(self, invocation_id: str, timeout_s: float) -> Invocation | None:
        """Return the record once it is final, or as it stands after `timeout_s` seconds."""
        with self.news.bell(invocation_id) as bell:
            status = await self.watch(invocation_id)
            if status is not None and status not in FINAL:
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(self.until_final(invocation_id, bell), timeout_s)
        return await self.get(invocation_id)

    async def until_final(self, invocation_id: str, bell: asyncio.Event) -> Invocation | None:
        """Wait until a watched invocation is final and return its record; None when it is gone."""
        while True:
            await bell.wait()
            bell.clear()
            record = await self.get(invocation_id)
            if record is None or record.is_final:
                return record

    async def page(
        self,
        *,
        function: str | None = None,
        status: str | None = None,
        since_ms: int = 0,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Return invocations of all queues, newest first.

        A page ends after `SCAN_LIMIT` entries of the index, few though it may have found: under a filter, or where records
        have expired. It may be short then, and still have a next.

        Raises:
            ValueError: the cursor is none of ours.
        """
        found: list[Invocation] = []
        count, left = (SCAN_LIMIT if status else limit + 1), SCAN_LIMIT
        while True:
            part = await self._part(function, status, since_ms, cursor, limit - len(found), count)
            found += part.invocations
            cursor, left, count = part.next, left - count, _STEP
            if cursor is None or len(found) == limit or left <= 0:
                return Page(found, cursor)

    async def _part(
        self, function: str | None, status: str | None, since_ms: int, cursor: str | None, limit: int, looked: int
    ) -> Page:
        """Return what is found among the next `looked` entries of the index."""
        position = read_cursor(cursor) if cursor else None
        candidates: list[tuple[int, str, str]] = []
        for queue in await self.queues():
            key = QueueKeys(queue).index(function)
            highest, members = "+inf", []
            if position:
                # A batch is accepted within one millisecond: all of that one's are read, else the list could end in it.
                highest = f"({position[0]}"
                members = await self.reads.do("ZRANGE", key, position[0], position[0], "BYSCORE", "REV", "WITHSCORES")
            members += await self.reads.do(
                "ZRANGE", key, highest, since_ms, "BYSCORE", "REV", "LIMIT", 0, looked + 1, "WITHSCORES"
            )
            for member, score in zip(members[::2], members[1::2], strict=True):
                entry = (int(float(score)), member.decode())
                if position is None or entry < position:
                    candidates.append((*entry, queue))
        candidates.sort(reverse=True)
        found: list[Invocation] = []
        last: tuple[int, str] | None = None
        for start in range(0, min(len(candidates), looked), 100):
            for (accepted_ms, invocation_id, _), record in zip(
                candidates[start : start + 100],
                await self.records([invocation_id for _, invocation_id, _ in candidates[start : start + 100]]),
                strict=True,
            ):
                if len(found) == limit:
                    return Page(found, write_cursor(last))
                last = (accepted_ms, invocation_id)
                if record is not None and (status is None or record.status == status):
                    found.append(record)
        return Page(found, write_cursor(last) if len(candidates) > looked else None)

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many attempts of each function ended how: {"thumbnail": {"succeeded": 12, "failed": 1}}."""
        counts: dict[str, dict[str, int]] = {}
        for queue in await self.queues():
            for name, count in _pairs(await self.reads.do("HGETALL", QueueKeys(queue).stats)).items():
                function, _, outcome = name.decode().rpartition(" ")
                counts.setdefault(function, {})[outcome] = int(count)
        return counts

    async def queues(self) -> list[str]:
        """Return the names of the queues in use."""
        return sorted(name.decode() for name in await self.reads.do("SMEMBERS", QUEUES))

    async def records(self, invocation_ids: Sequence[str]) -> list[Invocation | None]:
        """Return the records of several invocations, as `get` does."""
        return await asyncio.gather(*(self.get(invocation_id) for invocation_id in invocation_ids))

    async def _record(self, invocation_id: str, queue: str) -> Invocation | None:
        key = QueueKeys(queue).record(invocation_id)
        values = await self.reads.do("HMGET", key, *_ASKED)
        fields = {name: value for name, value in zip(_NAMES, values, strict=True) if value is not None}
        if b"status" not in fields:
            return None
        more = [f"a{n}" for n in range(_FIRST_ATTEMPTS + 1, int(fields.get(b"attempt", 0)) + 1)]
        if more:
            values = await self.reads.do("HMGET", key, *more)
            fields.update({name.encode(): value for name, value in zip(more, values, strict=True) if value is not None})
        return read_record(invocation_id, queue, fields)


def _pairs(reply: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(reply[::2], reply[1::2], strict=True))
