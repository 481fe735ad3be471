"""From a message to an invocation that the ledger has: format, filter, room, dedupe, accept.

Returns when the source may forget the message. While the ledger is away it waits, and so does whoever hands over; what a
listener has in flight is bounded, so waiting is the back-pressure.
"""

from __future__ import annotations

import hashlib

import msgspec

from runtime.ledger.keys import new_id
from runtime.ledger.records import Acceptance
from runtime.versions.catalog import Catalog
from runtime.versions.filters import matches
from runtime.versions.subscriptions import occurrence
from triggers.queues.accepting import Accepting
from triggers.queues.batching import Batching
from triggers.queues.gate import Gate
from triggers.queues.message import InvalidMessageError, Message, Settled
from triggers.queues.reading import QUEUE_EVENT, Read, read
from triggers.queues.source import Source

_JSON = msgspec.json.Encoder().encode
_ABSENT = object()


class HandOff:
    """Hands the messages of one source over; belongs to one event loop."""

    def __init__(self, accepting: Accepting, source: Source) -> None:
        #: as it is deployed now; a deploy that keeps the declaration changes the version only
        self.source = source
        #: whose subscriptions hear of CloudEvents
        self.catalog = Catalog()
        self._accepting = accepting
        self._gate = Gate(accepting, source.trigger.pause_above)
        batches = source.trigger.batch > 1
        self._batching = Batching(accepting, self._gate, source.trigger, lambda: self.source) if batches else None

    @property
    def blocked_s(self) -> float:
        """For how many seconds nothing could be handed over: the ledger is away, or the function's queue is full."""
        return max(self._accepting.away_s, self._gate.shut_s)

    async def unblocked(self) -> None:
        """Wait until something can be handed over."""
        await self._gate.enter(self.source.queue)
        self._gate.leave()
        await self._accepting.depth(self.source.queue)

    async def take(self, message: Message) -> Settled:
        """Hand one message over. May be cancelled: the message is then accepted or not, and comes again.

        Raises:
            InvalidMessageError: it cannot be read; it belongs among the dead letters.
        """
        source, trigger = self.source, self.source.trigger
        most = source.function.manifest.options.max_body_bytes
        if message.size > most:
            raise InvalidMessageError(
                f"its {message.size:,} bytes exceed the function's max_body of {most:,}; raise that or send less"
            )
        found = read(message, url=source.url, format=trigger.format, takes_blob=source.takes_blob)
        await self._publish(found)
        if not matches(trigger.when, found.event.data):
            return "filtered"
        if self._batching is not None:
            return await self._batching.take(found, self._digest(found))
        await self._gate.enter(source.queue)
        try:
            accepted = await self._accepting.accept(
                Acceptance(
                    id=new_id(source.queue),
                    queue=source.queue,
                    function=source.function.name,
                    version=source.function.version_for(found.event.id),
                    event=_JSON(found.event.document()),
                    blob=found.blob,
                    dedupe=self._digest(found),
                    key=f"{source.url} {found.identity}" if found.identity else "",
                )
            )
        finally:
            self._gate.leave()
        return "accepted" if accepted.outcome == "new" else "duplicate"

    async def _publish(self, found: Read) -> None:
        """Have those who subscribe to a CloudEvent's type get it, too; this source's own function gets it from here."""
        if found.event.type == QUEUE_EVENT or not self.catalog.subscriptions:
            return
        happened = occurrence(self.catalog, found.event, blob=found.blob)
        owed = [each for each in happened.owed if each.function != self.source.function.name]
        if owed:
            await self._accepting.publish(msgspec.structs.replace(happened, owed=owed))

    def _digest(self, found: Read) -> str:
        """Return the dedupe digest of a message: by the field that `dedupe=` names, else by its identity; "" for neither."""
        source, path = self.source, self.source.trigger.dedupe
        value = _ABSENT if path is None else _field(found.event.data, path)
        if value is not _ABSENT:
            what = b"field\0" + _JSON(value)
        elif found.identity is not None:
            what = b"message\0" + found.identity.encode()
        else:
            return ""
        return hashlib.sha256(b"queue\0%s\0%s\0%s" % (source.url.encode(), source.function.name.encode(), what)).hexdigest()


def _field(data: object, path: str) -> object:
    for name in path.split("."):
        data = data.get(name, _ABSENT) if isinstance(data, dict) else _ABSENT
    return data
