"""Waiting for an invocation to end: bounded, told and not polled, and given up at once when the server stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.records import FINAL, Acceptance, Accepted, Invocation

#: The longest wait a caller can ask for, seconds.
MAX_WAIT_S = 60


class Waits:
    """All waits of one process."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._patience: set[asyncio.Timeout] = set()
        #: set when the server stops
        self.closing = asyncio.Event()

    def close(self) -> None:
        """End every wait now, and let no later one begin: each caller is told what is known."""
        self.closing.set()
        now = asyncio.get_running_loop().time()
        for timeout in self._patience:
            if not timeout.expired():
                timeout.reschedule(now)

    @contextlib.asynccontextmanager
    async def at_most(self, timeout_s: float) -> AsyncIterator[None]:
        """Run a block for at most so long; what it was doing then ends without an error."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if self.closing.is_set() else timeout_s) as timeout:
                self._patience.add(timeout)
                try:
                    yield
                finally:
                    self._patience.discard(timeout)

    async def accept(self, acceptance: Acceptance, timeout_s: float) -> tuple[Accepted, Invocation | None]:
        """Accept an invocation whose `watch` is set, and return its record once it is final; None when it was not in time.

        Raises:
            LedgerUnavailableError: it is not known to be accepted.
        """
        with self._ledger.news.bell(acceptance.id) as bell:
            accepted = await self._ledger.accept(acceptance)
            if accepted.outcome != "new":
                return accepted, None
            record: Invocation | None = None
            async with self.at_most(timeout_s):
                record = await self._ledger.until_final(acceptance.id, bell)
            return accepted, record

    async def record(self, invocation_id: str, timeout_s: float) -> Invocation | None:
        """Return a record once it is final, or as it stands after `timeout_s` seconds; None when there is none."""
        if timeout_s <= 0:
            return await self._ledger.get(invocation_id)
        with self._ledger.news.bell(invocation_id) as bell:
            status = await self._ledger.watch(invocation_id)
            if status is not None and status not in FINAL:
                async with self.at_most(timeout_s):
                    return await self._ledger.until_final(invocation_id, bell)
        return await self._ledger.get(invocation_id)
