"""When a schedule is due: a trigger in, instants out, as whole milliseconds since 1970, UTC.

CronTrigger(expression="30 2 * * *", timezone="America/New_York")  ->  … 2026-03-07 07:30Z, 2026-03-08 07:00Z, …

cronsim matches the five fields on plain wall-clock time; the timezone is dealt with here, by Vixie's two rules
(Debian's cron(8), "daylight saving time"). A schedule with a star in front of its minute or hour runs on real time: the
wall clock is read as it is, so it runs in both passes of a repeated hour and not in one that is left out. Every other
schedule names times of the day: each comes once, in the first pass of a repeated hour, or right after a gap that holds it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from runtime.authoring.cron_fields import plain
from runtime.authoring.triggers import CronTrigger

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # a wall clock of no zone: offsets are added to it
#: No zone changes its offset twice within this many seconds.
_STRIDE_S = 86400


def slots(trigger: CronTrigger, after_ms: int) -> Iterator[int]:
    """Yield the instants after `after_ms` at which a schedule is due, strictly increasing, before any jitter."""
    if trigger.every_s is not None:
        yield from _every(round(trigger.every_s * 1000), after_ms)
        return
    assert trigger.expression is not None
    minute, hour, *_ = trigger.expression.split()
    runs_on_real_time = minute.startswith("*") or hour.startswith("*")
    compute = _on_real_time if runs_on_real_time else _at_times_of_day
    for second in compute(plain(trigger.expression), ZoneInfo(trigger.timezone), after_ms // 1000):
        yield second * 1000


def _every(every_ms: int, after_ms: int) -> Iterator[int]:
    # Aligned to 1970, so that every scheduler counts the same slots.
    slot_ms = after_ms // every_ms * every_ms
    while True:
        slot_ms += every_ms
        yield slot_ms


def _on_real_time(expression: str, zone: ZoneInfo, after: int) -> Iterator[int]:
    """Between two changes of the offset the wall clock runs evenly: cronsim walks one such stretch after the other."""
    begin: int | None = after + 1
    while begin is not None:
        offset, seen, change = _offset(zone, begin), begin, None
        for wall in CronSim(expression, _EPOCH + timedelta(seconds=begin - 1 + offset)):
            instant = _seconds(wall) - offset
            change = _first_change(zone, seen, instant)
            if change is not None:
                break
            yield instant
            seen = instant
        begin = change


def _at_times_of_day(expression: str, zone: ZoneInfo, after: int) -> Iterator[int]:
    last = after
    for wall in CronSim(expression, _EPOCH + timedelta(seconds=after + _offset(zone, after))):
        instant = _first_pass(zone, _seconds(wall))
        # Two times in one gap share its end, and the second pass of a repeated hour is over with the first.
        if instant > last:
            yield instant
            last = instant


def _first_pass(zone: ZoneInfo, wall: int) -> int:
    """Return the first instant at which the wall clock shows `wall`, or the end of the gap in which it never does."""
    shown = _EPOCH + timedelta(seconds=wall)
    earlier, later = (int(shown.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
    if earlier <= later:
        return earlier
    # In a gap the offset before it gives the later instant (PEP 495), so the change lies between the two.
    change = _first_change(zone, later, earlier)
    return earlier if change is None else change


def _first_change(zone: ZoneInfo, start: int, end: int) -> int | None:
    """Return the first instant in (start, end] at which the zone has another offset than at `start`."""
    offset = _offset(zone, start)
    while start < end:
        stop = min(start + _STRIDE_S, end)
        if _offset(zone, stop) != offset:
            while stop - start > 1:
                middle = (start + stop) // 2
                start, stop = (middle, stop) if _offset(zone, middle) == offset else (start, middle)
            return stop
        start = stop
    return None


@functools.lru_cache(maxsize=4096)
def _offset(zone: ZoneInfo, instant: int) -> int:
    offset = datetime.fromtimestamp(instant, UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _seconds(wall: datetime) -> int:
    return int((wall - _EPOCH).total_seconds())
