"""Events by name: published once, recorded with every subscription's answer, and owed to each that matched.

publish ── record {document, owed, answers} + outbox entry ── relay ── one accept per function that is owed
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.cursors import read_cursor, write_cursor
from runtime.ledger.keys import EVENTS, QueueKeys, new_id
from runtime.ledger.records import Acceptance, msgpack_text

#: Seconds an event is kept, and so deduplicated on source and id.
EVENT_TTL_S = 86400.0
#: Events in the index.
INDEX_ENTRIES = 100_000

_PACK = msgspec.msgpack.Encoder().encode
_JSON = msgspec.json.Encoder().encode


class Owed(msgspec.Struct, frozen=True):
    """A function that is to be invoked for an event."""

    function: str
    version: str
    queue: str


class Answer(msgspec.Struct, frozen=True):
    """What one subscription said to an event."""

    function: str
    #: what it subscribed to: "image.*"
    pattern: str
    matched: bool
    #: why not; empty when it matched
    why: str = ""


class Occurrence(msgspec.Struct, frozen=True, kw_only=True):
    """An event to be published, with the functions it is for."""

    id: str
    source: str
    type: str
    #: the event's JSON document
    document: bytes
    #: data that came as bytes
    blob: bytes | None = None
    owed: Sequence[Owed] = ()
    answers: Sequence[Answer] = ()

    @property
    def key(self) -> str:
        """The name of its record: a digest of source and id, which together name an event (CloudEvents 1.0, 3.1.1)."""
        return hashlib.sha256(f"{self.source}\0{self.id}".encode()).hexdigest()[:32]

    def packed(self) -> bytes:
        """Return the msgpack array that scripts/publish.lua reads."""
        owed = _JSON(self.owed) if self.owed else b""
        blob = False if self.blob is None else msgpack_text(self.blob)
        return _PACK(
            (self.key, self.type, msgpack_text(self.document), blob, msgpack_text(owed), msgpack_text(_JSON(self.answers)))
        )


class Published(msgspec.Struct, frozen=True):
    """The answer to a publication."""

    key: str
    outcome: Literal["new", "duplicate"]
    #: names of the functions that are invoked for it
    functions: list[str]


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it was published."""

    key: str
    type: str
    document: dict[str, Any]
    published_ms: int
    owed: list[Owed]
    answers: list[Answer]


class Events:
    """Publishes and reads events by name. Every method raises `LedgerUnavailableError` while Redis is away."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._keys = QueueKeys(EVENTS)

    async def publish(self, occurrences: Sequence[Occurrence]) -> list[Published]:
        """Publish events; all are written by one script, or none. Safe to send again: a repeat is a duplicate."""
        replies = await self._ledger.reads.run("publish", self._keys.base, *publish_arguments(occurrences))
        return [
            Published(o.key, "new" if reply else "duplicate", [owed.function for owed in o.owed])
            for o, reply in zip(occurrences, replies, strict=True)
        ]

    async def get(self, key: str) -> EventRecord | None:
        """Return an event's record; None when there is none any more."""
        names = ("type", "document", "published_ms", "owed", "answers")
        values = await self._ledger.reads.do("HMGET", self._keys.event(key), *names)
        if values[0] is None:
            return None
        kind, document, published_ms, owed, answers = values
        return EventRecord(
            key=key,
            type=kind.decode(),
            document=msgspec.json.decode(document),
            published_ms=int(published_ms),
            owed=msgspec.json.decode(owed, type=list[Owed]) if owed else [],
            answers=msgspec.json.decode(answers, type=list[Answer]),
        )

    async def newest(self, *, cursor: str | None = None, limit: int = 50) -> tuple[list[EventRecord], str | None]:
        """Return a page of events, newest first, and the cursor of the next one.

        Raises:
            ValueError: the cursor is none of ours.
        """
        index, reads = self._keys.index(), self._ledger.reads
        highest, keys = "+inf", list[str]()
        if cursor is not None:
            published_ms, last = read_cursor(cursor)
            # All of one batch share a millisecond: what is left of that one comes first.
            same = await reads.do("ZRANGE", index, published_ms, published_ms, "BYSCORE", "REV")
            keys = [key for key in (member.decode() for member in same) if key < last]
            highest = f"({published_ms}"
        below = await reads.do("ZRANGE", index, highest, "-inf", "BYSCORE", "REV", "LIMIT", 0, limit + 1)
        keys += [member.decode() for member in below]
        records = [record for key in keys[:limit] if (record := await self.get(key)) is not None]
        following = (records[-1].published_ms, records[-1].key) if len(keys) > limit and records else None
        return records, write_cursor(following)


def publish_arguments(occurrences: Sequence[Occurrence]) -> list[Any]:
    """Return what scripts/publish.lua takes."""
    return [int(EVENT_TTL_S * 1000), INDEX_ENTRIES, *(occurrence.packed() for occurrence in occurrences)]


def acceptances(key: str, fields: dict[str, bytes | None]) -> list[Acceptance]:
    """Return what is owed for an event's record; the same acceptances, however often they are asked for."""
    owed = fields["owed"]
    document = fields["document"]
    if not owed or document is None:
        return []
    return [
        Acceptance(
            id=new_id(each.queue),
            queue=each.queue,
            function=each.function,
            version=each.version,
            event=document,
            blob=fields["blob"],
            dedupe=hashlib.sha256(f"event\0{key}\0{each.function}".encode()).hexdigest(),
            key=f"{key}/{each.function}",
        )
        for each in msgspec.json.decode(owed, type=list[Owed])
    ]
