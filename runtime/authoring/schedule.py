"""Checks a schedule when it is declared, with messages that name the field.

Vixie semantics (crontab(5)): 0 and 7 are Sunday, names, `L` and `LW` in day-of-month, `MON#1` and `MONL` in day-of-week.
The schedulers compute with cronsim, which takes `cron_fields.plain(expression)`; what is valid here is valid there.
"""

from __future__ import annotations

import calendar
import itertools
import zoneinfo
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from runtime.authoring.cron_fields import Part, Values, read_fields

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

#: Every kind of year is among these: leap or not, beginning on each day of the week.
_ALL_KINDS_OF_YEARS = range(2001, 2029)
#: Files beside the IANA zones that mean another thing on another host, or count leap seconds.
_NO_ZONES = ("localtime", "posixrules", "Factory", "posix/", "right/")


def check_expression(expression: str) -> None:
    """Refuse a cron expression that is malformed or can never fire.

    Raises:
        ValueError: naming the field, what is wrong with it and what it takes.
    """
    if expression.startswith("@"):
        cure = {"@reboot": "nothing boots here", "@every": "write every='30s'"}.get(expression.lower().split()[0])
        why = f" ({cure})" if cure else ""
        raise ValueError(f"unknown schedule {expression[:50]!r}{why}; use one of {', '.join(ALIASES)}, or five fields")
    fields = read_fields(expression)
    if any(_chosen_days(fields)):
        return
    _, _, day, _, weekday = expression.split()
    days = [value for part in fields[2] for value in part.values if isinstance(value, int)]
    if weekday == "*" and days:
        raise ValueError(f"{expression!r} can never fire: no chosen month has a day {min(days)}; change the day of month")
    raise ValueError(
        f"{expression!r} can never fire: no chosen day of month {day!r} falls on the chosen day of week {weekday!r}; "
        "change one of the two"
    )


def check_jitter(jitter_s: float, expression: str | None, every_s: float | None) -> None:
    """Refuse a jitter by which a slot could start after the next one has.

    Raises:
        ValueError: naming the jitter and how far apart the slots are at least.
    """
    # Gaps below the jitter are what matters: most schedules are decided without a look at the calendar.
    gap_s = every_s if expression is None else min(_gaps_s(read_fields(expression), below_s=jitter_s), default=None)
    if jitter_s and gap_s is not None and jitter_s >= gap_s:
        raise ValueError(
            f"jitter={jitter_s:.11g}s is not below {gap_s:.11g}s, which lie between two slots of {expression or f'every={gap_s:.11g}s'!r}: "
            "a slot could start after the next one; use a smaller jitter"
        )


def check_timezone(name: str) -> None:
    """Refuse a timezone that the IANA database does not have.

    Raises:
        ValueError: naming the zone.
    """
    try:
        is_known = not name.startswith(_NO_ZONES) and bool(zoneinfo.ZoneInfo(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        is_known = False
    if not is_known:
        raise ValueError(f"unknown timezone {name[:50]!r}; use an IANA name like 'Europe/Paris' or 'UTC'")


def event_data(scheduled_for: str, schedule: str) -> dict[str, Any]:
    """Return the data of a schedule's event: the slot in ISO 8601, and the expression or "every 30s"."""
    return {"scheduled_for": scheduled_for, "schedule": schedule}


def _values(parts: Sequence[Part]) -> Values:
    return Values().union(*(part.values for part in parts))


def _gaps_s(fields: list[list[Part]], *, below_s: float) -> Iterator[float]:
    """Yield distances between neighbouring slots on the wall clock, the smallest of those up to `below_s` among them."""
    minutes, hours = (sorted(value for value in _values(parts) if isinstance(value, int)) for parts in fields[:2])
    times = [3600 * hour + 60 * minute for hour in hours for minute in minutes]
    yield from (after - before for before, after in itertools.pairwise(times))
    overnight = times[0] - times[-1]
    if 86400 + overnight <= below_s:
        yield from ((after - before).days * 86400 + overnight for before, after in itertools.pairwise(_chosen_days(fields)))


def _chosen_days(fields: list[list[Part]]) -> Iterator[date]:
    """Yield the days on which a schedule runs, in years of every kind."""
    days, months, weekdays = map(_values, fields[2:])
    # Vixie's rule: a field that begins with a star restricts nothing by itself, and the two are ANDed.
    both = fields[2][0].text.startswith("*") or fields[4][0].text.startswith("*")
    for year in _ALL_KINDS_OF_YEARS:
        for month in sorted(month for month in months if isinstance(month, int)):
            last = calendar.monthrange(year, month)[1]
            for number in range(1, last + 1):
                day = date(year, month, number)
                by_day, by_weekday = _is_day(day, last, days), _is_weekday(day, last, weekdays)
                if (by_day and by_weekday) if both else (by_day or by_weekday):
                    yield day


def _is_day(day: date, last: int, days: Values) -> bool:
    if day.day in days or ("L" in days and day.day == last):
        return True
    # The last day from Monday to Friday: the last one itself, or the Friday before it.
    return "LW" in days and day.weekday() < 5 and (day.day == last or (day.weekday() == 4 and day.day + 2 >= last))


def _is_weekday(day: date, last: int, weekdays: Values) -> bool:
    weekday = day.isoweekday()
    nth, is_last = f"{weekday % 7}#{(day.day + 6) // 7}", f"{weekday % 7}L"
    return not weekdays.isdisjoint({weekday, weekday % 7, nth}) or (is_last in weekdays and day.day + 7 > last)
