"""What the tests of expressions share: the fires of one, and moments before the clocks change."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from runtime.authoring.triggers import CronTrigger
from triggers.cron.schedule import moment
from triggers.cron.slots import slots

#: Moments shortly before a change of the clocks; for UTC a month's end.
CHANGES = [
    ("UTC", "2026-01-30 12:00"),
    ("America/New_York", "2026-03-07 23:00"),
    ("America/New_York", "2026-10-31 23:00"),
    ("Europe/London", "2026-03-28 22:00"),
    ("Europe/London", "2026-10-24 22:00"),
    ("Australia/Lord_Howe", "2026-10-03 23:00"),
    ("Australia/Lord_Howe", "2026-04-04 22:00"),
    ("America/Santiago", "2026-09-05 20:00"),
    ("America/Santiago", "2026-04-04 20:00"),
]


def fires(expression: str, zone: str, after: datetime, count: int) -> list[datetime]:
    trigger = CronTrigger(expression=expression, timezone=zone)
    return [moment(slot_ms) for slot_ms in islice(slots(trigger, int(after.timestamp() * 1000)), count)]


def wall(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
