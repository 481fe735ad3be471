"""Checks a cron expression and a timezone when they are declared, with messages that name the field.

Vixie semantics (crontab(5)): 0 and 7 are Sunday, names, `L` and `LW` in day-of-month, `MON#1` and `MONL` in day-of-week.
The schedulers compute with cronsim, which takes `plain(expression)`; what is valid here is valid there.
"""

from __future__ import annotations

import calendar
import re
import zoneinfo
from datetime import date
from typing import Any

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
#: Every kind of year is among these: leap or not, beginning on each day of the week.
_ALL_KINDS_OF_YEARS = range(2001, 2029)

#: name, lowest, highest, names and the value of the first name
_FIELDS = (
    ("minute", 0, 59, (), 0),
    ("hour", 0, 23, (), 0),
    ("day of month", 1, 31, (), 0),
    ("month", 1, 12, _MONTHS, 1),
    ("day of week", 0, 7, _DAYS, 0),
)

#: What a field stands for: numbers, and words like "L", "LW" (day of month), "1#2", "5L" (day of week).
_Values = set[int | str]


def check_expression(expression: str) -> None:
    """Refuse a cron expression that is malformed or can never fire.

    Raises:
        ValueError: naming the field, what is wrong with it and what it takes.
    """
    fields = expression.split()
    if expression.startswith("@"):
        raise ValueError(f"unknown schedule {expression!r}; use one of {', '.join(ALIASES)}, or five fields")
    if len(fields) != 5:
        raise ValueError(
            f"{expression!r} has {len(fields)} fields; a schedule has five: minute hour day-of-month month day-of-week"
        )
    values = [_values(expression, text, *field) for text, field in zip(fields, _FIELDS, strict=True)]
    # Vixie's rule: a field that begins with a star restricts nothing by itself, and the two are ANDed.
    both = fields[2].startswith("*") or fields[4].startswith("*")
    if _has_a_day(values[2], values[3], values[4], both=both):
        return
    days = [day for day in values[2] if isinstance(day, int)]
    if fields[4] == "*" and days:
        raise ValueError(f"{expression!r} can never fire: no chosen month has a day {min(days)}; change the day of month")
    raise ValueError(
        f"{expression!r} can never fire: no chosen day of month {fields[2]!r} falls on the chosen day of week {fields[4]!r}; "
        "change one of the two"
    )


def check_timezone(name: str) -> None:
    """Refuse a timezone that the IANA database does not have.

    Raises:
        ValueError: naming the zone.
    """
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown timezone {name!r}; use an IANA name like 'Europe/Paris' or 'UTC'") from error


def plain(expression: str) -> str:
    """Return a checked expression with weekdays as numbers, as every cron reads it: "0 9 * * FRI-SUN" -> "0 9 * * 5-7"."""
    *others, weekdays = expression.upper().split()
    for number, name in enumerate(_DAYS):
        weekdays = weekdays.replace(name, str(number))
    return " ".join([*others, re.sub(r"\b([1-7])-0", r"\1-7", weekdays)])


def event_data(scheduled_for: str, schedule: str) -> dict[str, Any]:
    """Return the data of a schedule's event: the slot in ISO 8601, and the expression or "every 30s"."""
    return {"scheduled_for": scheduled_for, "schedule": schedule}


def _values(expression: str, text: str, name: str, low: int, high: int, names: tuple[str, ...], first: int) -> _Values:
    def bad(part: str, why: str) -> ValueError:
        hint = f" or {names[0]}–{names[-1]}" if names else ""
        return ValueError(
            f"{expression!r}: the {name} field {part!r} {why}; it takes {low}–{high}{hint}, '*', 'a-b', 'a,b', '*/n'"
        )

    def number(term: str, part: str) -> int:
        if term.upper() in names:
            return names.index(term.upper()) + first
        if not re.fullmatch(r"[0-9]{1,3}", term):
            raise bad(part, "is not understood")
        value = int(term)
        if not low <= value <= high:
            raise bad(part, "is out of range")
        return value

    found: _Values = set()
    for part in text.split(","):
        term, slash, step_text = part.partition("/")
        if slash and (not re.fullmatch(r"[0-9]{1,3}", step_text) or int(step_text) == 0):
            raise bad(part, "has a step that is not a positive number")
        step = int(step_text) if slash else 1
        if step > high:
            raise bad(part, "has a step beyond the field")
        if term == "*":
            found.update(range(low, high + 1, step))
        elif name == "day of month" and term.upper() in ("L", "LW") and not slash:
            found.add(term.upper())
        elif name == "day of week" and (match := re.fullmatch(r"([A-Za-z]{3}|[0-7])(#[1-5]|[lL])", term)) and not slash:
            found.add(f"{number(match[1], part) % 7}{match[2].upper()}")
        elif "-" in term:
            start_text, _, end_text = term.partition("-")
            start, end = number(start_text, part), number(end_text, part)
            if name == "day of week" and end == 0 and start > 0:
                end = 7
            if start > end:
                raise bad(part, "runs backwards")
            found.update(range(start, end + 1, step))
        else:
            start = number(term, part)
            found.update(range(start, high + 1, step) if slash else (start,))
    return found


def _has_a_day(days: _Values, months: _Values, weekdays: _Values, *, both: bool) -> bool:
    """Tell whether any day of any year is chosen."""
    for year in _ALL_KINDS_OF_YEARS:
        for month in sorted(month for month in months if isinstance(month, int)):
            last = calendar.monthrange(year, month)[1]
            for day in range(1, last + 1):
                by_day, by_weekday = (
                    _is_day(date(year, month, day), last, days),
                    _is_weekday(date(year, month, day), last, weekdays),
                )
                if (by_day and by_weekday) if both else (by_day or by_weekday):
                    return True
    return False


def _is_day(day: date, last: int, days: _Values) -> bool:
    if day.day in days or ("L" in days and day.day == last):
        return True
    # The last day from Monday to Friday: the last one itself, or the Friday before it.
    return "LW" in days and day.weekday() < 5 and (day.day == last or (day.weekday() == 4 and day.day + 2 >= last))


def _is_weekday(day: date, last: int, weekdays: _Values) -> bool:
    weekday = day.isoweekday()
    nth, is_last = f"{weekday % 7}#{(day.day + 6) // 7}", f"{weekday % 7}L"
    return not weekdays.isdisjoint({weekday, weekday % 7, nth}) or (is_last in weekdays and day.day + 7 > last)
