"""Schedules as documents and in words, for the API and the command line.

{"id": "daily_report:4be1a0c2", "function": "daily_report", "schedule": "0 9 * * MON-FRI", "words": "At 09:00 on Monday …",
 "next": [{"utc": "2026-03-09T08:00:00+00:00", "local": "2026-03-09T09:00:00+01:00", "in_s": 5025.2}], …}
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim
from pydantic import ValidationError

from runtime.authoring.cron_fields import plain
from runtime.authoring.errors import OnCueError
from runtime.authoring.triggers import CronTrigger
from runtime.ledger.schedules import History, State
from triggers.cron.schedule import Schedule, moment
from triggers.cron.slots import slots


class ScheduleError(OnCueError):
    """An expression or a timezone is none; the message names the field and the cure."""


def in_words(trigger: CronTrigger) -> str:
    """Say a schedule in English: "At 09:00 on Monday through Friday", "Every 30 seconds"."""
    if trigger.expression is None:
        return f"Every {_span(trigger.every_s or 0)}"
    return CronSim(plain(trigger.expression), datetime(2000, 1, 1, tzinfo=UTC)).explain()


def next_fires(trigger: CronTrigger, after_ms: int, count: int = 3) -> list[dict[str, Any]]:
    """Return the next slots in UTC and in the schedule's own zone, with the seconds until then."""
    zone = ZoneInfo(trigger.timezone)
    return [
        {
            "utc": moment(slot_ms).isoformat(),
            "local": moment(slot_ms).astimezone(zone).isoformat(),
            "in_s": (slot_ms - after_ms) / 1000,
        }
        for slot_ms in islice(slots(trigger, after_ms), count)
    ]


def preview(expression: str, timezone: str = "UTC", *, count: int = 5, after: datetime | None = None) -> dict[str, Any]:
    """Return what an expression means and when it fires next: {schedule, timezone, words, next}. For `oncue cron next`.

    Raises:
        ScheduleError: the expression or the timezone cannot be used.
    """
    try:
        trigger = CronTrigger(expression=expression, timezone=timezone)
    except ValidationError as error:
        raise ScheduleError(error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")) from error
    after_ms = int((after or datetime.now(UTC)).timestamp() * 1000)
    return {
        "schedule": trigger.expression,
        "timezone": timezone,
        "words": in_words(trigger),
        "next": next_fires(trigger, after_ms, count),
    }


def document(schedule: Schedule, state: State, history: History) -> dict[str, Any]:
    """Return a schedule as the API shows it; a paused one has no next fires."""
    trigger = schedule.trigger
    return {
        "id": schedule.id,
        "function": schedule.function.name,
        "folder": schedule.function.folder,
        "version": schedule.function.version,
        "queue": schedule.queue,
        "schedule": schedule.text,
        "words": in_words(trigger),
        "timezone": trigger.timezone,
        "catch_up": trigger.catch_up,
        "max_catch_up": trigger.max_catch_up,
        "overlap": trigger.overlap,
        "jitter_s": trigger.jitter_s,
        "paused": state.is_paused,
        "waiting": state.waiting,
        "next": [] if state.is_paused else next_fires(trigger, state.now_ms),
        "fired": state.accepted,
        "fires": [
            {
                "slot": moment(slot).isoformat() if slot else None,
                "invocation": invocation_id,
                "accepted": moment(accepted).isoformat(),
                "by_hand": slot == 0,
            }
            for slot, invocation_id, accepted in history.fires
        ],
        "missed": state.missed,
        "misses": [{"slot": moment(slot).isoformat(), "reason": reason} for slot, reason in history.missed],
    }


def until(in_s: float) -> str:
    """Say how far off a fire is: "in 3 minutes", "in 2 days"."""
    return f"in {_span(max(0.0, in_s), rough=True)}"


def _span(seconds: float, *, rough: bool = False) -> str:
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and (rough or seconds % length == 0):
            count = int(seconds // length)
            return f"{count} {name}{'s' if count > 1 else ''}" if rough or count > 1 else name
    count_text = f"{seconds:.0f}" if rough else f"{seconds:.11g}"
    return ("1 second" if rough else "second") if count_text == "1" else f"{count_text} seconds"
