"""The ledger as the hand-offs of this process see it: they wait while it is away, and one of them knocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from runtime.ledger.batches import accept_batch
from runtime.ledger.events import Occurrence, publish_arguments
from runtime.ledger.intake import Intake
from runtime.ledger.keys import EVENTS, QueueKeys
from runtime.ledger.reads import Reads
from runtime.ledger.records import Acceptance, Accepted
from runtime.ledger.wire import LedgerUnavailableError
from triggers.queues.backoff import Backoff

#: Seconds between two tries to reach the ledger: the first pause, the longest one.
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 2.0

T = TypeVar("T")


class Accepting:
    """Accepts invocations, however long the ledger is away; belongs to one event loop."""

    def __init__(self, url: str) -> None:
        self._intake = Intake(url)
        self.reads = Reads(url)
        self._is_there = asyncio.Event()
        self._is_there.set()
        self._away_since = 0.0
        self._backoff = Backoff(BACKOFF_MIN_S, BACKOFF_MAX_S)
        self._knocking: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("oncue.queues")

    @property
    def away_s(self) -> float:
        """For how many seconds the ledger has been away; 0 when it is there."""
        return 0.0 if self._is_there.is_set() else time.monotonic() - self._away_since

    async def close(self) -> None:
        """Finish what is in flight and close the connections."""
        if self._knocking is not None:
            self._knocking.cancel()
        await self._intake.close()
        await self.reads.close()

    async def accept(self, acceptance: Acceptance) -> Accepted:
        """Accept an invocation; return when the ledger has it. The acceptance's id makes every repetition safe."""
        return await self._insist(lambda: self._intake.accept(acceptance))

    async def accept_batch(self, acceptance: Acceptance, digests: Sequence[str]) -> list[int]:
        """Accept an invocation for a batch, as `runtime.ledger.batches.accept_batch` does."""
        return await self._insist(lambda: accept_batch(self.reads, acceptance, digests))

    async def publish(self, occurrence: Occurrence) -> None:
        """Publish an event by name; return when the ledger has it. A repeat is a duplicate."""
        base, arguments = QueueKeys(EVENTS).base, publish_arguments([occurrence])
        await self._insist(lambda: self.reads.run("publish", base, *arguments))

    async def depth(self, queue: str) -> int:
        """Return how many invocations of a queue wait or run, whichever carrier has them."""
        return await self._insist(lambda: self._depth(QueueKeys(queue)))

    async def _depth(self, keys: QueueKeys) -> int:
        # What another carrier has taken over leaves the stream for the leases: counted twice on its way, never missed.
        here, elsewhere = self.reads.do("XLEN", keys.stream), self.reads.do("ZCARD", keys.leases)
        depth: int = await here + await elsewhere
        return depth

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the ledger, again and again while it is away."""
        while True:
            await self._is_there.wait()
            try:
                answer = await ask()
            except LedgerUnavailableError as error:
                self._is_away(error)
            else:
                self._backoff.reset()
                return answer

    def _is_away(self, error: LedgerUnavailableError) -> None:
        if self._is_there.is_set():
            self._is_there.clear()
            self._away_since = time.monotonic()
            self._log.warning("messages wait until the ledger takes them", reason=str(error))
            self._knocking = asyncio.create_task(self._knock())

    async def _knock(self) -> None:
        # A server that answers and refuses to write is knocked at more and more slowly, too.
        while True:
            await asyncio.sleep(self._backoff.pause_s())
            try:
                await self.reads.do("PING")
            except LedgerUnavailableError:
                continue
            self._is_there.set()
            return
