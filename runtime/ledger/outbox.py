"""An outbox as its relay sees it: read, deliver, remove. One connection, for one thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import redis

from runtime.ledger.events import Occurrence, publish_arguments
from runtime.ledger.intake import INDEX_ENTRIES, INDEX_TTL_S
from runtime.ledger.keys import EVENTS, QUEUES, RELAY_GROUP, QueueKeys
from runtime.ledger.records import Acceptance
from runtime.ledger.wire import Wire, raise_errors

#: Parked entries kept for people to look at.
PARKED_ENTRIES = 1_000

Entry = tuple[str, dict[str, bytes]]


class Outbox:
    """The outbox of one queue. Every method raises `LedgerUnavailableError` while Redis is away."""

    def __init__(self, url: str, queue: str, consumer: str) -> None:
        self._wire = Wire(url)
        self._keys = QueueKeys(queue)
        self._consumer = consumer

    def close(self) -> None:
        """Close the connection; who waits in `read` is woken by an error."""
        self._wire.close()

    def read(self, *, count: int, wait_s: float) -> list[Entry]:
        """Wait up to `wait_s` seconds for entries that no relay has seen; return at most `count`."""
        command = ("XREADGROUP", "GROUP", RELAY_GROUP, self._consumer, "COUNT", count, "BLOCK", int(wait_s * 1000), "STREAMS")
        (reply,) = self._wire.send((*command, self._keys.outbox, ">"))
        if isinstance(reply, redis.ResponseError) and "NOGROUP" in str(reply):
            self._wire.send(("XGROUP", "CREATE", self._keys.outbox, RELAY_GROUP, "0", "MKSTREAM"))
            return []
        raise_errors([reply])
        return _entries(reply[0][1]) if reply else []

    def own(self, *, count: int) -> list[Entry]:
        """Return entries that this relay itself has read, and not removed."""
        command = ("XREADGROUP", "GROUP", RELAY_GROUP, self._consumer, "COUNT", count, "STREAMS", self._keys.outbox, "0")
        (reply,) = self._wire.send(command)
        if isinstance(reply, redis.ResponseError) and "NOGROUP" in str(reply):
            return []
        raise_errors([reply])
        return _entries(reply[0][1]) if reply else []

    def take_over(self, *, idle_s: float, count: int) -> list[Entry]:
        """Take over entries that a relay read `idle_s` seconds ago and has not removed."""
        command = ("XAUTOCLAIM", self._keys.outbox, RELAY_GROUP, self._consumer, int(idle_s * 1000), "0", "COUNT", count)
        (reply,) = self._wire.send(command)
        if isinstance(reply, redis.ResponseError) and "NOGROUP" in str(reply):
            return []
        raise_errors([reply])
        return _entries(reply[1])

    def remove(self, entries: Sequence[str]) -> None:
        """Remove delivered entries."""
        outbox = self._keys.outbox
        raise_errors(self._wire.send(("XACK", outbox, RELAY_GROUP, *entries), ("XDEL", outbox, *entries)))

    def park(self, entry: str, fields: dict[str, bytes], reason: str) -> None:
        """Put an entry that can never be delivered aside, with the reason."""
        text = msgspec.json.encode({name: value.decode(errors="replace") for name, value in fields.items()})
        parked = (
            "XADD",
            self._keys.parked,
            "MAXLEN",
            "~",
            PARKED_ENTRIES,
            "*",
            "entry",
            entry,
            "fields",
            text,
            "reason",
            reason,
        )
        raise_errors(self._wire.send(parked))
        self.remove([entry])

    def event(self, key: str) -> dict[str, bytes | None]:
        """Return what the record of an event owes: its document, blob and owed."""
        names = ("document", "blob", "owed")
        (values,) = raise_errors(self._wire.send(("HMGET", QueueKeys(EVENTS).event(key), *names)))
        return dict(zip(names, values, strict=True))

    def accept(self, acceptances: Sequence[Acceptance]) -> None:
        """Accept invocations; each carries a dedupe key, so that this may be repeated."""
        by_queue: dict[str, list[bytes]] = {}
        for acceptance in acceptances:
            by_queue.setdefault(acceptance.queue, []).append(acceptance.packed())
        for queue, packed in by_queue.items():
            raise_errors(self._wire.send(("SADD", QUEUES, queue)))
            self._wire.run("accept", QueueKeys(queue).base, [[INDEX_ENTRIES, INDEX_TTL_S * 1000, *packed]])

    def publish(self, occurrences: Sequence[Occurrence]) -> None:
        """Publish events; a repeat is a duplicate."""
        self._wire.run("publish", QueueKeys(EVENTS).base, [publish_arguments(occurrences)])


def _entries(reply: list[Any]) -> list[Entry]:
    # An entry whose data is gone (deleted under the group) comes back empty; there is nothing left to deliver.
    return [
        (entry.decode(), {fields[n].decode(): fields[n + 1] for n in range(0, len(fields), 2)})
        for entry, fields in (item for item in reply if item[1])
    ]
