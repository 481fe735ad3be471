"""`batch=` and `window=`: several messages make one invocation, and each is settled when that is accepted.

{"id": "default-01j…", "source": "kafka://main/orders", "type": "oncue.queue.batch",
 "data": {"messages": [{"id": "orders-0-17@1767225600000", "data": {"order": 7}, "time": "…", "headers": {}}, …]}}
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from runtime.authoring.event import Event
from runtime.authoring.triggers import QueueTrigger
from runtime.ledger.batches import BATCH_EVENT
from runtime.ledger.keys import new_id
from runtime.ledger.records import Acceptance
from triggers.queues.accepting import Accepting
from triggers.queues.gate import Gate
from triggers.queues.message import Settled
from triggers.queues.reading import Read, in_batch
from triggers.queues.source import Source

#: A batch is sent early when its messages have this many bytes of JSON.
MAX_BYTES = 4 * 2**20

_JSON = msgspec.json.Encoder().encode


@dataclass(slots=True, eq=False)
class _Waiting:
    """A message that waits for its batch to fill, or to be accepted."""

    entry: dict[str, Any]
    digest: str
    settled: asyncio.Future[Settled]


class Batching:
    """Collects the messages of one source. `source` tells it as it is deployed when a batch is full, not when it began."""

    def __init__(self, accepting: Accepting, gate: Gate, trigger: QueueTrigger, source: Callable[[], Source]) -> None:
        self._accepting = accepting
        self._gate = gate
        self._most, self._window_s = trigger.batch, trigger.window_s
        self._source = source
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def take(self, found: Read, digest: str) -> Settled:
        """Put a message into the next batch; return when that is accepted."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(in_batch(found), digest, loop.create_future())
        self._waiting.append(waiting)
        self._bytes += len(_JSON(waiting.entry))
        if len(self._waiting) >= self._most or self._bytes >= MAX_BYTES:
            self._send()
        elif self._timer is None:
            self._timer = loop.call_later(self._window_s, self._send)
        return await waiting.settled

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Who was cancelled is given back to the source, and comes again.
        batch = [waiting for waiting in self._waiting if not waiting.settled.done()]
        self._waiting, self._bytes = [], 0
        if batch:
            task = asyncio.get_running_loop().create_task(self._accept(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _accept(self, batch: list[_Waiting]) -> None:
        try:
            await self._gate.enter(self._source().queue)
            try:
                await self._accept_new(self._source(), batch)
            finally:
                self._gate.leave()
        except Exception as error:  # noqa: BLE001  # whatever it was, each message's listener must hear of it
            for waiting in batch:
                if not waiting.settled.done():
                    waiting.settled.set_exception(error)

    async def _accept_new(self, source: Source, batch: list[_Waiting]) -> None:
        """Accept what of a batch is new; what was accepted before is settled with it."""
        repeats: list[_Waiting] = []
        seen: set[str] = set()
        fresh: list[_Waiting] = []
        for waiting in batch:
            (repeats if waiting.digest and waiting.digest in seen else fresh).append(waiting)
            seen.add(waiting.digest)
        while fresh:
            acceptance = _acceptance(source, [waiting.entry for waiting in fresh])
            known = await self._accepting.accept_batch(acceptance, [waiting.digest for waiting in fresh])
            if not known:
                break
            repeats += [fresh[position] for position in known]
            fresh = [waiting for position, waiting in enumerate(fresh) if position not in set(known)]
        for outcome, settled in (("accepted", fresh), ("duplicate", repeats)):
            for waiting in settled:
                if not waiting.settled.done():
                    waiting.settled.set_result("accepted" if outcome == "accepted" else "duplicate")


def _acceptance(source: Source, entries: list[dict[str, Any]]) -> Acceptance:
    invocation_id = new_id(source.queue)
    # CloudEvents of two sources may share an id; within a batch an id names one message.
    taken: set[str] = set()
    for position, entry in enumerate(entries):
        if entry["id"] in taken:
            entry["id"] = f"{entry['id']}#{position}"
        taken.add(entry["id"])
    event = Event(invocation_id, source.url, BATCH_EVENT, datetime.now(UTC), {"messages": entries})
    return Acceptance(
        id=invocation_id,
        queue=source.queue,
        function=source.function.name,
        version=source.function.version_for(invocation_id),
        event=_JSON(event.document()),
    )
