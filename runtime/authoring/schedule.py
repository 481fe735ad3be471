"""Checks a cron expression and a timezone when they are declared, with messages that name the field.

Vixie semantics (crontab(5)): 0 and 7 are Sunday, names, `L` in day-of-month, `MON#1` and `MONL` in day-of-week.
"""

from __future__ import annotations

import re
import zoneinfo

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
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

#: name, lowest, highest, names and the value of the first name
_FIELDS = (
    ("minute", 0, 59, (), 0),
    ("hour", 0, 23, (), 0),
    ("day of month", 1, 31, (), 0),
    ("month", 1, 12, _MONTHS, 1),
    ("day of week", 0, 7, _DAYS, 0),
)


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
    days, months = values[2], values[3]
    day_is_restricted, weekday_is_restricted = not fields[2].startswith("*"), not fields[4].startswith("*")
    reachable = any(day <= _LONGEST[month - 1] for day in days for month in months)
    if day_is_restricted and not weekday_is_restricted and "L" not in fields[2].upper() and not reachable:
        raise ValueError(f"{expression!r} can never fire: no chosen month has a day {min(days)}; change the day of month")


def check_timezone(name: str) -> None:
    """Refuse a timezone that the IANA database does not have.

    Raises:
        ValueError: naming the zone.
    """
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown timezone {name!r}; use an IANA name like 'Europe/Paris' or 'UTC'") from error


def _values(expression: str, text: str, name: str, low: int, high: int, names: tuple[str, ...], first: int) -> set[int]:
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

    found: set[int] = set()
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
            found.add(31)
        elif name == "day of week" and (match := re.fullmatch(r"([A-Za-z]{3}|[0-7])(?:#([1-5])|([lL]))", term)) and not slash:
            found.add(number(match[1], part))
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
