"""Schedules in the ledger: the high-water mark of each, what it fired, what it missed. scripts/fire.lua decides.

oncue:{media}:cron                  set   ids of the schedules with a mark
oncue:{media}:cron:<schedule id>    hash  mark (the last slot decided, ms), paused (since, ms), last (invocation id), fired, missed
     …:fires     list  "<slot ms> <invocation id> <accepted ms>", newest first; slot 0: fired by hand
     …:missed    list  "<slot ms> <reason>", newest first; reasons: late, paused, overlap, removed
     …:waiting   list  slots that wait until the invocation before them is over, oldest first
All of a schedule's keys expire 32 days after the last look at it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from runtime.ledger.intake import INDEX_ENTRIES, INDEX_TTL_S
from runtime.ledger.keys import FOLDERS, QUEUES, QueueKeys
from runtime.ledger.reads import Reads

#: A slot that is decided up to this many seconds late is on time: a restart is no outage.
GRACE_S = 10.0
#: Slots listed as missed, fires listed, and slots that may wait for their predecessor; per schedule.
MISSED_LISTED = 1000
FIRES_LISTED = 100
MOST_WAITING = 1000
#: Seconds the state of a schedule outlives the last look at it, and the longest time between two looks.
STATE_TTL_S = 32 * 86400
LOOK_AT_LEAST_S = 86400

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PACK = msgspec.msgpack.Encoder().encode
_POINTER = msgspec.json.Decoder(dict[str, Any]).decode


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A slot that may be accepted, as scripts/fire.lua reads it."""

    #: the slot, ms since 1970; 0: fire now
    slot_ms: int
    #: when the invocation is to start: the slot and its jitter
    due_ms: int
    #: what the invocation's id is made of, its idempotency key, and its event's JSON
    id: str
    key: str
    event: str
    #: from 0 to 99: below the share of a candidate, that version runs it
    place: int


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose slots are decided, and how."""

    function: str
    version: str
    catch_up: Literal["skip", "latest", "all"]
    max_catch_up: int
    overlap: Literal["allow", "skip", "queue"]
    #: the version that gets a share of the slots, and its share in percent
    candidate: str = ""
    percent: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """How a schedule stands. Times are ms since 1970 by Redis's clock."""

    now_ms: int
    #: the last slot decided; None: nobody has looked at it yet
    mark_ms: int | None
    is_paused: bool
    #: slots that wait for the invocation `last` to be over
    waiting: int
    last: str | None
    #: the version that the folder serves at this moment
    version: str | None = None
    #: whether its keys are to be kept for longer
    is_ageing: bool = False
    #: slots accepted, and slots listed as missed: by this decision, or ever
    accepted: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """What a schedule did of late, newest first."""

    #: (slot ms or 0 when fired by hand, invocation id, accepted ms)
    fires: list[tuple[int, str, int]]
    #: (slot ms, reason)
    missed: list[tuple[int, str]]


class ScheduleLedger:
    """Reads and decides schedules; belongs to one event loop.

    Every method may safely be repeated, and raises `LedgerUnavailableError` while Redis is away or refuses to write.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def now_ms(self) -> int:
        """Return the time by Redis's clock, ms since 1970."""
        seconds, microseconds = await self._reads.do("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def state(self, queue: str, schedule_id: str, folder: str) -> State:
        """Return how a schedule stands, and which version its folder serves."""
        key = _state_key(queue, schedule_id)
        now_ms, values, waiting, kept_ms, pointer = await asyncio.gather(
            self.now_ms(),
            self._reads.do("HMGET", key, "mark", "paused", "last", "fired", "missed"),
            self._reads.do("LLEN", f"{key}:waiting"),
            self._reads.do("PTTL", key),
            self._reads.do("HGET", FOLDERS, folder),
        )
        mark, paused, last, fired, missed = values
        return State(
            now_ms=now_ms,
            mark_ms=None if mark is None else int(mark),
            is_paused=paused is not None,
            waiting=waiting,
            last=last.decode() if last else None,
            version=_POINTER(pointer)["version"] if pointer else None,
            is_ageing=kept_ms < (STATE_TTL_S - LOOK_AT_LEAST_S / 2) * 1000,
            accepted=int(fired or 0),
            missed=int(missed or 0),
        )

    async def decide(
        self, queue: str, schedule_id: str, policy: Policy, *, seen_ms: int, older: int, rows: Sequence[Row | int]
    ) -> State:
        """Have slots accepted, kept waiting or listed as missed: each once, whoever asks and however often.

        `rows` are all slots after `seen_ms` in order, but for the oldest ones, of which there are `older`; a slot that
        is too late to be accepted under any clock may come as a bare number.
        """
        settings = (
            *(policy.function, policy.version, policy.catch_up, policy.max_catch_up, policy.overlap),
            *(int(GRACE_S * 1000), INDEX_ENTRIES, INDEX_TTL_S * 1000),
            *(MISSED_LISTED, FIRES_LISTED, MOST_WAITING, STATE_TTL_S * 1000, policy.candidate, policy.percent),
        )
        packed = [_PACK((row,) if isinstance(row, int) else row) for row in rows]
        mark, now, paused, waiting, last, accepted, missed = await self._reads.run(
            *("fire", QueueKeys(queue).base, schedule_id, seen_ms, _PACK(settings), older, secrets.token_hex(16)), *packed
        )
        return State(
            now_ms=now,
            mark_ms=mark,
            is_paused=paused == 1,
            waiting=waiting,
            last=last.decode() or None,
            version=policy.version,
            accepted=accepted,
            missed=missed,
        )

    async def pause(self, queue: str, schedule_id: str, *, pause: bool) -> bool:
        """Pause a schedule, or let it go on; return whether that changed anything."""
        base = QueueKeys(queue).base
        return bool(await self._reads.run("cron_pause", base, schedule_id, int(pause), STATE_TTL_S * 1000))

    async def adopt(self, declared: Mapping[str, Collection[str]]) -> None:
        """Forget the marks of all schedules but these: queue -> schedule ids."""
        if declared:
            await self._reads.do("SADD", QUEUES, *declared)
        for queue in {name.decode() for name in await self._reads.do("SMEMBERS", QUEUES)}:
            await self._reads.run("cron_retire", QueueKeys(queue).base, MISSED_LISTED, *declared.get(queue, ()))

    async def history(self, queue: str, schedule_id: str, *, most: int) -> History:
        """Return the last fires and the last missed slots, at most `most` of each."""
        key = _state_key(queue, schedule_id)
        fires, missed = await asyncio.gather(
            self._reads.do("LRANGE", f"{key}:fires", 0, most - 1), self._reads.do("LRANGE", f"{key}:missed", 0, most - 1)
        )
        return History(
            [(int(slot), invocation_id.decode(), int(at)) for slot, invocation_id, at in map(bytes.split, fires)],
            [(int(slot), reason.decode()) for slot, reason in map(bytes.split, missed)],
        )

    async def watch(self, queue: str, invocation_id: str) -> str | None:
        """Have the queue's news channel told of an invocation's changes; return its status, None when it is gone."""
        status: bytes | None = await self._reads.run("watch", QueueKeys(queue).base, invocation_id)
        return status.decode() if status else None


def slot_id(queue: str, schedule_id: str, slot_ms: int) -> str:
    """Return what makes the invocation id of a slot: a ULID of the slot's time, whose random part is a digest of the slot.

    scripts/fire.lua mixes that part with the queue's salt, so that nobody can work the id out.
    """
    digest = hashlib.sha256(f"{schedule_id} {slot_ms}".encode()).digest()[:10]
    number = slot_ms << 80 | int.from_bytes(digest)
    return f"{queue}-{''.join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -5, -5))}"


def _state_key(queue: str, schedule_id: str) -> str:
    return f"{QueueKeys(queue).base}:cron:{schedule_id}"
