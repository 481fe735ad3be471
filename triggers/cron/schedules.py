"""What people do with schedules: list them, fire one now, pause it, let it go on. Behind `/v1/schedules`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from runtime.authoring.errors import OnCueError
from runtime.ledger.reads import Reads
from runtime.ledger.schedules import ScheduleLedger
from runtime.versions.catalog import Catalog
from triggers.cron.looking import look
from triggers.cron.schedule import Schedule, declared
from triggers.cron.words import document

#: Fires and missed slots shown in a list, and of a single schedule.
IN_LIST = 3
IN_FULL = 100


class UnknownScheduleError(OnCueError):
    """No deployed function has a schedule of this id."""


class Schedules:
    """The schedules of what is deployed; belongs to one event loop.

    Every method raises `LedgerUnavailableError` while Redis is away; those with an id `UnknownScheduleError`.
    """

    def __init__(self, reads: Reads, catalog: Callable[[], Catalog]) -> None:
        self._ledger = ScheduleLedger(reads)
        self._catalog = catalog

    async def list(self) -> list[dict[str, Any]]:
        """Return every schedule as a document (`words.document`), in order of the functions' names."""
        return await asyncio.gather(*(self._document(each, IN_LIST) for each in declared(self._catalog()).values()))

    async def get(self, schedule_id: str) -> dict[str, Any]:
        """Return one schedule as a document, with its whole history."""
        return await self._document(self._find(schedule_id), IN_FULL)

    async def fire(self, schedule_id: str) -> str:
        """Run the function now, also while its schedule is paused; return the invocation's id. Touches no slot."""
        schedule = self._find(schedule_id)
        row = schedule.row_by_hand(await self._ledger.now_ms())
        await self._ledger.decide(schedule.queue, schedule.id, schedule.policy, seen_ms=0, older=0, rows=[row])
        return row.id

    async def pause(self, schedule_id: str) -> dict[str, Any]:
        """Fire nothing until `resume`; slots that come due are listed as missed. Return the schedule's document."""
        return await self._switch(schedule_id, pause=True)

    async def resume(self, schedule_id: str) -> dict[str, Any]:
        """Go on with the next slot; what came due during the pause stays missed. Return the schedule's document."""
        return await self._switch(schedule_id, pause=False)

    async def _switch(self, schedule_id: str, *, pause: bool) -> dict[str, Any]:
        schedule = self._find(schedule_id)
        # Slots up to this moment are decided under the rule that held for them.
        await look(self._ledger, schedule)
        await self._ledger.pause(schedule.queue, schedule.id, pause=pause)
        return await self._document(schedule, IN_FULL)

    async def _document(self, schedule: Schedule, most: int) -> dict[str, Any]:
        state, history = await asyncio.gather(
            self._ledger.state(schedule.queue, schedule.id, schedule.function.folder),
            self._ledger.history(schedule.queue, schedule.id, most=most),
        )
        return document(schedule, state, history)

    def _find(self, schedule_id: str) -> Schedule:
        schedule = declared(self._catalog()).get(schedule_id)
        if schedule is None:
            raise UnknownScheduleError(f"no deployed function has the schedule {schedule_id!r}; `oncue cron` lists them")
        return schedule
