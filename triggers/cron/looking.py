"""One look at one schedule: read its mark, compute what became due since, and have the ledger decide."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import takewhile

from runtime.ledger.schedules import MISSED_LISTED, Row, ScheduleLedger, State
from triggers.cron.schedule import Schedule
from triggers.cron.slots import slots

#: A stretch longer than this, in ms, may hold many slots: they are computed beside the event loop.
LONG_MS = 3600 * 1000
#: Slots up to this old, in ms, come with their event; far above the grace that the script goes by.
_FRESH_MS = 60 * 1000


async def look(ledger: ScheduleLedger, schedule: Schedule, *, known_mark_ms: int | None = None) -> State | None:
    """Decide what of a schedule is due; return how it stands then.

    None: its folder serves another version by now, and nothing was decided. `known_mark_ms` is where an earlier look
    left off; it goes for a mark that has been lost.

    Raises:
        LedgerUnavailableError: nothing is known to be decided; safe to repeat.
    """
    state = await ledger.state(schedule.queue, schedule.id, schedule.function.folder)
    if state.version != schedule.function.version:
        return None
    seen_ms = known_mark_ms if state.mark_ms is None else state.mark_ms
    older, due = 0, list[int]()
    if seen_ms is not None:
        is_long = state.now_ms - seen_ms > LONG_MS
        compute = asyncio.to_thread(_due, schedule, seen_ms, state.now_ms) if is_long else None
        older, due = await compute if compute else _due(schedule, seen_ms, state.now_ms)
    if not (due or state.waiting or state.mark_ms is None or state.is_ageing):
        return state
    rows = _rows(schedule, due, state.now_ms)
    return await ledger.decide(schedule.queue, schedule.id, schedule.policy, seen_ms=seen_ms or 0, older=older, rows=rows)


def _due(schedule: Schedule, after_ms: int, until_ms: int) -> tuple[int, list[int]]:
    """Return the newest slots of a stretch, in order, and how many came before them."""
    newest: deque[int] = deque(maxlen=MISSED_LISTED + schedule.trigger.max_catch_up)
    count = 0
    for slot_ms in takewhile(lambda slot_ms: slot_ms <= until_ms, slots(schedule.trigger, after_ms)):
        newest.append(slot_ms)
        count += 1
    return count - len(newest), list(newest)


def _rows(schedule: Schedule, due: list[int], now_ms: int) -> list[Row | int]:
    fresh = sum(slot_ms > now_ms - _FRESH_MS for slot_ms in due)
    caught_up = schedule.trigger.max_catch_up if schedule.trigger.catch_up == "all" else 1
    first = len(due) - fresh - caught_up
    return [schedule.row(slot_ms) if n >= first else slot_ms for n, slot_ms in enumerate(due)]
