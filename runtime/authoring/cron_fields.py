"""The five fields of a cron expression, read once: in numbers, as every cron takes them, and as the values they stand for.

"0 9 * * FRI-SUN"  ->  "0 9 * * 5-7"  and  {0}, {9}, {1, …, 31}, {1, …, 12}, {5, 6, 7}
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: What a field stands for: numbers, and words like "L", "LW" (day of month), "1#2", "5L" (day of week).
Values = set[int | str]

#: Characters of an expression at the most; with every minute, hour, day and month listed it has 360.
MOST_CHARACTERS = 500


class Field(NamedTuple):
    """One of the five, and what it takes."""

    name: str
    low: int
    high: int
    #: names that may stand for numbers, and the number of the first
    names: tuple[str, ...] = ()
    first: int = 0
    #: what else it takes, for error messages
    words: str = ""


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31, words=", 'L', 'LW'"),
    Field("month", 1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1),
    Field("day of week", 0, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), words=", 'MON#1', 'MONL'"),
)
_NUMBER = re.compile(r"[0-9]{1,3}")
_WEEKDAY = re.compile(r"([A-Za-z]{3}|[0-9]{1,3})(#[1-5]|[lL])")
_NO_SUCH_DAY = "there is no such day here: run on every day it may be, and look at the date in the handler"
#: What other crons take, or people try, and what to write instead.
_CURES = (
    (re.compile(r""), "something is missing beside a comma"),
    (re.compile(r"\?"), "write *"),
    (re.compile(r"/\d+"), "write *{part}"),
    (re.compile(r"\w+#\d+"), "the number behind # is 1 to 5"),
    (re.compile(r"L-\d+|L?\d*W", re.IGNORECASE), _NO_SUCH_DAY),
)


class Part(NamedTuple):
    """What stands between two commas of a field."""

    #: in numbers: "5-7" for "FRI-SUN"
    text: str
    values: Values


def read_fields(expression: str) -> list[list[Part]]:
    """Return the parts of each of the five fields.

    Raises:
        ValueError: naming the field, what is wrong with it and what it takes.
    """
    if len(expression) > MOST_CHARACTERS:
        raise ValueError(f"the schedule {expression[:50]!r}… has {len(expression)} characters; keep it to {MOST_CHARACTERS}")
    fields = expression.split()
    if len(fields) != 5:
        seconds = "; leave the seconds out, or use every='30s'" if len(fields) == 6 else ""
        raise ValueError(
            f"{expression!r} has {len(fields)} fields; a schedule has five: minute hour day-of-month month day-of-week{seconds}"
        )
    try:
        return [[_part(field, part) for part in text.split(",")] for field, text in zip(FIELDS, fields, strict=True)]
    except ValueError as error:
        raise ValueError(f"{expression!r}: {error}") from None


def plain(expression: str) -> str:
    """Return a checked expression in numbers, as every cron reads it: "0 9 * * FRI-SUN" -> "0 9 * * 5-7"."""
    return " ".join(",".join(part.text for part in parts) for parts in read_fields(expression))


def _part(field: Field, part: str) -> Part:
    term, slash, step_text = part.partition("/")
    if slash and (not _NUMBER.fullmatch(step_text) or int(step_text) == 0):
        raise _bad(field, part, "has a step that is not a positive number")
    step = int(step_text) if slash else 1
    if step > field.high:
        raise _bad(field, part, "has a step beyond the field", f"write {field.low if term == '*' else term.partition('-')[0]}")
    every = f"/{step}" if slash else ""
    if term == "*":
        return Part(f"*{every}", set(range(field.low, field.high + 1, step)))
    if field.name == "day of month" and term.upper() in ("L", "LW") and not slash:
        return Part(term.upper(), {term.upper()})
    if field.name == "day of week" and (match := _WEEKDAY.fullmatch(term)) and not slash:
        word = f"{_number(field, match[1], part) % 7}{match[2].upper()}"
        return Part(word, {word})
    if "-" not in term:
        start = _number(field, term, part)
        return Part(f"{start}{every}", set(range(start, field.high + 1, step) if slash else (start,)))
    start, end = (_number(field, each, part) for each in term.split("-", 1))
    if field.name == "day of week" and end == 0 and start > 0:
        end = 7
    if start > end:
        raise _bad(field, part, "runs backwards", f"write {start}-{field.high},{field.low}-{end}")
    # cronsim 2.8 takes "7-7/15" for "7/15".
    return Part(f"{start}-{end}{every}" if start < end else str(start), set(range(start, end + 1, step)))


def _number(field: Field, term: str, part: str) -> int:
    if term.upper() in field.names:
        return field.names.index(term.upper()) + field.first
    if not _NUMBER.fullmatch(term):
        cures = [cure.format(part=part) for pattern, cure in _CURES if pattern.fullmatch(part)]
        names = [f"write {name}" for name in field.names if term.upper().startswith(name)]
        raise _bad(field, part, "is not understood", *(cures or names)[:1])
    value = int(term)
    if not field.low <= value <= field.high:
        raise _bad(field, part, "is out of range")
    return value


def _bad(field: Field, part: str, why: str, cure: str = "") -> ValueError:
    hint = f" or {field.names[0]}–{field.names[-1]}" if field.names else ""
    cure = f" ({cure})" if cure else ""
    return ValueError(
        f"the {field.name} field {part!r} {why}{cure}; it takes {field.low}–{field.high}{hint}, '*', 'a-b', 'a,b', '*/n'{field.words}"
    )
