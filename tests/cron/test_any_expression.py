"""What holds for any expression at all, made and evaluated here without a parser."""

from __future__ import annotations

import calendar
import functools
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.authoring import schedule
from runtime.authoring.cron_fields import plain
from runtime.authoring.triggers import CronTrigger
from tests.cron.instants import CHANGES, fires, wall
from triggers.cron.slots import slots

#: Changes that croniter is not asked about: two in a year's fasting, two hours, and a day that was left out.
STRANGE_CHANGES = [
    ("Africa/Casablanca", "2026-02-14 22:00"),
    ("Africa/Casablanca", "2026-03-21 22:00"),
    ("Antarctica/Troll", "2026-03-28 22:00"),
    ("Antarctica/Troll", "2026-10-24 22:00"),
    ("Pacific/Apia", "2011-12-29 12:00"),
    ("Pacific/Kiritimati", "1994-12-30 12:00"),
    ("Asia/Kathmandu", "2028-02-28 22:00"),
]

ZONES = (
    "UTC",
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",
    "America/Santiago",
    "America/St_Johns",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Pacific/Apia",
)
#: How far apart the two readings of a repeated hour are at most, and a time in a gap and the gap's end.
LONGEST_CHANGE = timedelta(hours=1)


Chosen = tuple[str, frozenset[int | str]]


@st.composite
def chosen(draw: st.DrawFn, low: int, high: int) -> Chosen:
    """A field as text, and the numbers that it stands for, made without any parser."""
    kind = draw(st.sampled_from(["star", "step", "list", "range", "open step"]))
    if kind == "star":
        return "*", frozenset(range(low, high + 1))
    if kind == "step":
        step = draw(st.integers(1, max(1, high // 2)))
        return f"*/{step}", frozenset(range(low, high + 1, step))
    if kind == "range":
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        step = draw(st.integers(1, 8 if high > 10 else 3))
        every = f"/{step}" if step > 1 else ""
        return f"{first}-{last}{every}", frozenset(range(first, last + 1, step))
    if kind == "open step":
        first, step = draw(st.integers(low, high)), draw(st.integers(1, high))
        return f"{first}/{step}", frozenset(range(first, high + 1, step))
    values = draw(st.frozensets(st.integers(low, high), min_size=1, max_size=4))
    return ",".join(map(str, sorted(values))), values


@st.composite
def chosen_or_named(draw: st.DrawFn, low: int, high: int, words: list[str]) -> Chosen:
    """The same with words like "LW", "5L" and "1#2" among the numbers."""
    text, values = draw(chosen(low, high))
    named = draw(st.frozensets(st.sampled_from(words), max_size=2))
    return ",".join([text, *sorted(named)]), values | named


WEEKDAY_WORDS = [f"{weekday}{which}" for weekday in range(7) for which in ("L", "#1", "#2", "#3", "#4", "#5")]
DAYS = chosen_or_named(1, 31, ["L", "LW"])
WEEKDAYS = chosen_or_named(0, 7, WEEKDAY_WORDS)


@given(
    minute=chosen(0, 59),
    hour=chosen(0, 23),
    day=DAYS,
    month=chosen(1, 12),
    weekday=WEEKDAYS,
    zone=st.sampled_from(ZONES),
    after=st.integers(0, 6 * 365 * 86400).map(lambda seconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)),
)
@settings(max_examples=250, deadline=None)
def test_consecutive_fires_of_any_expression(
    minute: Chosen,
    hour: Chosen,
    day: Chosen,
    month: Chosen,
    weekday: Chosen,
    zone: str,
    after: datetime,
) -> None:
    """Consecutive fires are strictly increasing, and each matches the expression or ends a gap that holds a match."""
    fields = (minute, hour, day, month, weekday)
    expression = " ".join(text for text, _ in fields)
    try:
        schedule.check_expression(expression)
    except ValueError as error:
        assert "can never fire" in str(error)  # noqa: PT017  # such as */28 ANDed with a weekday that it cannot meet
        return
    previous = after
    for instant in fires(expression, zone, after, 6):
        assert instant > previous
        shown = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        if not matches(fields, shown):
            before = (instant - timedelta(seconds=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
            gap = shown - before - timedelta(seconds=1)
            assert timedelta(0) < gap <= LONGEST_CHANGE
            minutes_left_out = (shown - timedelta(minutes=n) for n in range(1, int(gap.total_seconds()) // 60 + 1))
            assert any(matches(fields, left_out) for left_out in minutes_left_out)
        previous = instant


def matches(fields: Sequence[Chosen], shown: datetime) -> bool:
    (_, minutes), (_, hours), day, month, weekday = fields
    return shown.second == 0 and shown.minute in minutes and shown.hour in hours and is_day(day, month, weekday, shown.date())


@functools.cache
def is_day(day: Chosen, month: Chosen, weekday: Chosen, shown: date) -> bool:
    (day_text, days), (_, months), (weekday_text, weekdays) = day, month, weekday
    last = calendar.monthrange(shown.year, shown.month)[1]
    left = [shown + timedelta(days=n) for n in range(last - shown.day + 1)]
    is_last_workday = [each.weekday() < 5 for each in left] == [True] + [False] * (len(left) - 1)
    number, nth = shown.isoweekday() % 7, (shown.day - 1) // 7 + 1
    by_day = shown.day in days or ("L" in days and len(left) == 1) or ("LW" in days and is_last_workday)
    by_weekday = not weekdays.isdisjoint({shown.isoweekday(), number, f"{number}#{nth}"}) or (
        f"{number}L" in weekdays and len(left) <= 7
    )
    both = day_text.startswith("*") or weekday_text.startswith("*")
    return shown.month in months and ((by_day and by_weekday) if both else (by_day or by_weekday))


def minute_by_minute(fields: Sequence[Chosen], zone: str, after: int, until: int) -> list[int]:
    """The fires in (after, until], by the two rules of docs/cron.md and nothing else; in seconds since 1970."""
    is_real_time = any(text.startswith("*") for text, _ in fields[:2])
    found: list[int] = []
    begin = after - after % 60 - 86400
    highest = datetime.fromtimestamp(begin - 60, ZoneInfo(zone)).replace(tzinfo=None)
    for instant in range(begin, until + 1, 60):
        shown = datetime.fromtimestamp(instant, ZoneInfo(zone)).replace(tzinfo=None)
        if is_real_time:
            is_due = matches(fields, shown)
        else:
            # What lies between this time and the highest one before it was left out; what is below that came before.
            jump = int((shown - highest).total_seconds()) // 60
            is_due = any(matches(fields, shown - timedelta(minutes=n)) for n in range(max(jump, 0)))
        highest = max(highest, shown)
        if is_due and instant > after:
            found.append(instant)
    return found


@given(
    minute=chosen(0, 59),
    hour=chosen(0, 23),
    day=DAYS,
    weekday=WEEKDAYS,
    change=st.sampled_from(CHANGES + STRANGE_CHANGES),
    shift=st.integers(-43200, 43200),
)
@settings(max_examples=150, deadline=None)
def test_no_fire_of_any_expression_is_missed(
    minute: Chosen,
    hour: Chosen,
    day: Chosen,
    weekday: Chosen,
    change: tuple[str, str],
    shift: int,
) -> None:
    """Around changes of the clocks the fires are those that a look at every single minute finds, and no others."""
    fields = (minute, hour, day, ("*", frozenset(range(1, 13))), weekday)
    expression = " ".join(text for text, _ in fields)
    zone = change[0]
    after = int(wall(change[1], zone).timestamp()) + shift
    until = after + 86400
    try:
        trigger = CronTrigger(expression=expression, timezone=zone)
    except ValueError as error:
        assert "can never fire" in str(error)  # noqa: PT017  # as above
        return
    found = [slot_ms // 1000 for slot_ms in takewhile(lambda slot_ms: slot_ms <= until * 1000, slots(trigger, after * 1000))]
    assert found == minute_by_minute(fields, zone, after, until)


PIECES = re.findall(
    r"\S+",
    "* 0 1 5 7 8 12 28 29 30 31 59 60 L LW l 5L MON sun FRIL JAN jan-mar MON#1 5#5 0#6 */2 */31 */0 5/15 1-5 5-1 FRI-SUN 6-0 1-7/2 "
    "x 1- -1 , 1, L/2 ? 15W MON-3 7-7 00 */7 */8 0-7 SAT-SUN/2 #1 1#0 LWL 31-L 5-5/2 07-7/3 5-00 FRI-07/2 JAN-1/2",
)


@given(st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=2).map(",".join), min_size=5, max_size=5).map(" ".join))
@settings(max_examples=600, deadline=None)
def test_the_check_of_authors_agrees_with_cronsim(expression: str) -> None:
    """What is accepted at declaration fires; what cronsim would compute and is refused has a reason of its own."""
    try:
        schedule.check_expression(expression)
    except ValueError as error:
        stricter = ("step beyond the field", "can never fire", "L/2")
        if not any(reason in str(error) for reason in stricter):
            with pytest.raises((CronSimError, ValueError)):
                CronSim(plain(expression), datetime(2026, 1, 1, tzinfo=UTC))
        return
    assert fires(expression, "UTC", datetime(2026, 1, 1, tzinfo=UTC), 1)
