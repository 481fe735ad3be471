"""What people do to invocations: cancel one, replay or drop dead letters. On the event loop.

A dead letter is a failed invocation that nobody has replayed yet. Dead letters of one cause share a fingerprint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import QueueKeys, new_id, queue_of
from runtime.ledger.records import Acceptance, Accepted, Invocation

#: Seconds in which replaying the same invocation again answers with the same replay (a double click).
REPLAY_ONCE_S = 60.0

#: Dead letters found by one call, and looked at for that in each queue.
MOST = 10_000
LOOKED_AT = 100_000

_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters are meant; a field left out means all."""

    function: str | None = None
    fingerprint: str | None = None
    #: the exception's class name
    error_type: str | None = None
    since_ms: int = 0
    until_ms: int | None = None

    def takes(self, record: Invocation) -> bool:
        """Tell whether a record is among them."""
        error = record.error or {}
        return (
            self.function in (None, record.function)
            and self.fingerprint in (None, error.get("fingerprint"))
            and self.error_type in (None, error.get("type"))
        )


@dataclass(frozen=True, slots=True)
class Target:
    """Where a replay goes: the function's queue and version as they are now."""

    queue: str
    version: str


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Dead letters, newest first within each queue."""

    records: list[Invocation]
    #: whether they are all that a filter takes
    is_complete: bool


#: From a record to where its replay goes; None when the function is deployed no more (its own version then runs it).
FindTarget = Callable[[Invocation], Target | None]


class Operations:
    """Cancels, replays and drops. Every method raises `LedgerUnavailableError` while Redis is away."""

    def __init__(self, ledger: AsyncLedger, find_target: FindTarget) -> None:
        self._ledger = ledger
        self._find_target = find_target

    async def cancel(self, invocation_id: str) -> str | None:
        """Cancel an invocation; return the status it had, None when there is none.

        What ran is cancelled once its child has ended: SIGTERM, two seconds, SIGKILL.
        """
        queue = queue_of(invocation_id)
        if queue is None:
            return None
        status: bytes | None = await self._ledger.reads.run("cancel", QueueKeys(queue).base, invocation_id)
        return status.decode() if status else None

    async def replay(self, record: Invocation, *, delay_s: float = 0.0) -> Accepted | None:
        """Invoke anew with the same input; the new record names the old one in `replay_of`. None: it was dropped meanwhile.

        The function runs in the version that is deployed now, or in its own when it is deployed no more.
        Within a minute a second replay of the same invocation is a duplicate of the first.
        """
        key = QueueKeys(record.queue).record(record.id)
        event, blob, trace, then = await self._ledger.reads.do("HMGET", key, "event", "blob", "trace", "then")
        if event is None:
            return None
        target = self._find_target(record) or Target(record.queue, record.version)
        more = {"replay_of": record.id}
        more |= {name: value.decode() for name, value in (("trace", trace), ("then", then)) if value is not None}
        accepted = await self._ledger.accept(
            Acceptance(
                id=new_id(target.queue),
                queue=target.queue,
                function=record.function,
                version=target.version,
                event=event,
                blob=blob,
                dedupe=hashlib.sha256(f"replay\0{record.id}".encode()).hexdigest(),
                dedupe_ttl_s=REPLAY_ONCE_S,
                delay_s=delay_s,
                key=record.key,
                more=more,
            )
        )
        await self._ledger.reads.run("replayed", QueueKeys(record.queue).base, record.id, accepted.id)
        return accepted

    async def dead_letters(self, wanted: DeadLetterFilter, *, most: int = MOST) -> DeadLetters:
        """Return the dead letters of a filter, at most `most`."""
        found: list[Invocation] = []
        is_complete = True
        highest = "+inf" if wanted.until_ms is None else str(wanted.until_ms)
        for queue in await self._ledger.queues():
            command = ("ZRANGE", QueueKeys(queue).dead, highest, wanted.since_ms, "BYSCORE", "REV", "LIMIT", 0, LOOKED_AT)
            ids = [member.decode() for member in await self._ledger.reads.do(*command)]
            is_complete = is_complete and len(ids) < LOOKED_AT
            for start in range(0, len(ids), _PAGE):
                for record in await self._ledger.records(ids[start : start + _PAGE]):
                    if record is not None and record.status == "failed" and wanted.takes(record):
                        if len(found) == most:
                            return DeadLetters(found, is_complete=False)
                        found.append(record)
        return DeadLetters(found, is_complete)

    async def replay_all(
        self, wanted: DeadLetterFilter, *, per_second: float | None = None, most: int = MOST
    ) -> list[Accepted]:
        """Replay the dead letters of a filter, oldest first, spread over time when a rate is given.

        The rate is kept by the ledger: each replay is accepted now, to start at its moment.
        """
        records = sorted((await self.dead_letters(wanted, most=most)).records, key=lambda record: record.ended_ms or 0)
        delays = (number / per_second if per_second else 0.0 for number in range(len(records)))
        replays = [await self.replay(record, delay_s=delay) for record, delay in zip(records, delays, strict=True)]
        return [each for each in replays if each is not None]

    async def drop(self, records: list[Invocation]) -> int:
        """Delete dead letters with all that is kept of them; return how many there were."""
        dropped = 0
        by_queue: dict[str, list[str]] = {}
        for record in records:
            by_queue.setdefault(record.queue, []).append(record.id)
        for queue, ids in by_queue.items():
            for start in range(0, len(ids), _PAGE):
                dropped += await self._ledger.reads.run("drop", QueueKeys(queue).base, *ids[start : start + _PAGE])
        return dropped
