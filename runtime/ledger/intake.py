"""Group commit of acceptances on the event loop.

All requests of one event-loop tick go out as one script call; whatever arrives while that write is in
flight becomes the next single write. Each caller waits for the reply of its own batch.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from runtime.ledger.keys import QUEUES, QueueKeys
from runtime.ledger.records import Acceptance, Accepted
from runtime.ledger.wire import AsyncWire, LedgerUnavailableError, raise_errors

#: Bounds of one write: Redis serves nobody else while it runs.
MAX_BATCH = 512
MAX_BATCH_BYTES = 8 * 2**20

#: Seconds within which a write over a connection that has died fails.
AT_ONCE_S = 1.0

#: Bounds of an index, per queue and per function.
INDEX_ENTRIES = 100_000
INDEX_TTL_S = 30 * 86400


@dataclass(slots=True)
class _Lane:
    """What waits to be written to one queue, and whether a write is in flight."""

    wire: AsyncWire
    pending: list[tuple[bytes, Acceptance, asyncio.Future[Accepted]]] = field(default_factory=list)
    writer: asyncio.Task[None] | None = None
    is_announced: bool = False


class Intake:
    """Accepts invocations for all queues; belongs to one event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lanes: dict[str, _Lane] = {}
        #: (function, outcome) -> how many acceptances ended so
        self.accepts: Counter[tuple[str, str]] = Counter()

    def accept(self, acceptance: Acceptance) -> asyncio.Future[Accepted]:
        """Write an acceptance with the next batch. The future ends when Redis has answered (and, with
        `appendfsync always`, synced).

        Raises (from the future):
            LedgerUnavailableError: nothing is known to be written; safe to send again under the same id.
        """
        lane = self._lanes.get(acceptance.queue)
        if lane is None:
            lane = self._lanes[acceptance.queue] = _Lane(AsyncWire(self._url))
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Accepted] = loop.create_future()
        lane.pending.append((acceptance.packed(), acceptance, answer))
        if lane.writer is None:
            lane.writer = loop.create_task(self._write(acceptance.queue, lane))
        return answer

    async def close(self) -> None:
        """Finish what is in flight and close the connections."""
        writers = [lane.writer for lane in self._lanes.values() if lane.writer is not None]
        await asyncio.gather(*writers, return_exceptions=True)
        for lane in self._lanes.values():
            await lane.wire.close()

    async def _write(self, queue: str, lane: _Lane) -> None:
        try:
            while lane.pending:
                batch = _take(lane.pending)
                try:
                    replies = await self._send(queue, lane, [packed for packed, _, _ in batch])
                except Exception as error:  # noqa: BLE001  # whatever it was, each caller must hear of it
                    if isinstance(error, LedgerUnavailableError):
                        # Redis is away for those behind them, too: a write each would have them wait in line for nothing.
                        batch += lane.pending
                        lane.pending.clear()
                    for _, _, answer in batch:
                        if not answer.done():
                            answer.set_exception(error)
                    continue
                for (_, acceptance, answer), reply in zip(batch, replies, strict=True):
                    accepted = Accepted(acceptance.id, "new") if reply == 1 else _read(reply)
                    self.accepts[acceptance.function, accepted.outcome] += 1
                    if not answer.done():
                        answer.set_result(accepted)
        finally:
            lane.writer = None

    async def _send(self, queue: str, lane: _Lane, packed: list[bytes]) -> list[object]:
        arguments = [INDEX_ENTRIES, INDEX_TTL_S * 1000, *packed]
        base = QueueKeys(queue).base
        began = time.monotonic()
        try:
            return await self._run(queue, lane, base, arguments)
        except LedgerUnavailableError:
            # An idle connection may have died unseen, which shows at once. Ids make the script safe to run again.
            if time.monotonic() - began > AT_ONCE_S:
                raise
            return await self._run(queue, lane, base, arguments)

    async def _run(self, queue: str, lane: _Lane, base: str, arguments: list[object]) -> list[object]:
        if not lane.is_announced:
            raise_errors(await lane.wire.send(("SADD", QUEUES, queue)))
            lane.is_announced = True
        replies: list[object] = await lane.wire.run("accept", base, arguments)
        return replies


def _read(reply: Any) -> Accepted:
    outcome, other = reply  # accept.lua answers a pair where it does not answer 1
    return Accepted(other.decode(), outcome.decode())


def _take(
    pending: list[tuple[bytes, Acceptance, asyncio.Future[Accepted]]],
) -> list[tuple[bytes, Acceptance, asyncio.Future[Accepted]]]:
    count, size = 0, 0
    while count < min(len(pending), MAX_BATCH) and (count == 0 or size + len(pending[count][0]) <= MAX_BATCH_BYTES):
        size += len(pending[count][0])
        count += 1
    batch = pending[:count]
    del pending[:count]
    return batch
