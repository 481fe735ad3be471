"""When schedules are due: against the tables of docs/cron.md, against croniter, and for any expression at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.authoring import schedule
from runtime.authoring.cron_fields import plain
from runtime.authoring.triggers import CronTrigger
from triggers.cron.schedule import moment
from triggers.cron.slots import slots

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cron.md").read_text()
TIME = "%Y-%m-%d %H:%M%z"

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

EXPRESSIONS = """
    * * * * * | */15 * * * * | 7 * * * * | 0 */2 * * * | 30 */6 * * * | */20 1-3 * * * | 5/20 * * * * | 0,15,30,45 * * * *
    */15 0 * * * | */30 2 * * * | 0 0-23 * * * | 23 0-20/2 * * * | 0 2-4 * * * | 0 0 * * * | 30 1 * * * | 30 2 * * *
    0,30 2 * * * | 15 2 * * * | 45 23 * * * | 30 23 * * * | 0 12 * * * | 0 0 1 * * | 0 0 31 * * | 0 0 30 * *
    0 0 29 2 * | 1 0 29 2 * | 0 0 28-31 * * | 0 0 L * * | 0 0 15,L * * | 0 12 L 2 * | 0 4 8-14 * * | 0 0 */2 * *
    0 0 * * 0 | 0 0 * * 7 | 0 0 * * SUN | 0 9 * * MON-FRI | 0 9 * * mon,wed,fri | 0 0 * * 1-5/2 | 0 0 * * 5-7 | 0 0 * * FRI-SUN
    0 0 1 JAN * | 0 0 1 jan-mar * | 0 0 1 */3 * | 0 0 1 1 * | 59 23 31 12 * | 0 22 * 1-6/2 * | 0 0,12 1 */2 * | 0 4 * * 0-6
    0 0 13 * 5 | 0 0 1,15 * MON | 0 0 1-7 * 1 | */10 0 1 * 0 | 0 0 29 2 MON | 30 4 1,15 * 5 | 10-20/5 8-17 * * 1-5
    0 0 * * MON#1 | 0 0 * * 5#3 | 0 0 * * 0#5 | 0 0 * * 7#2 | 0 0 * * FRI#2,MON#1 | 0 0 * 2 1#5 | 0 0 * * 5L | 0 0 * * MONL | 0 0 * * 7L
"""


def table(heading: str) -> Iterator[list[str]]:
    """The rows of the first table behind a heading of the document."""
    section = DOCUMENT.partition(f"{heading}\n")[2]
    rows = re.search(r"\|---.*\n((?:\|.*\n)+)", section)
    assert rows is not None
    for row in rows[1].splitlines():
        yield [cell.strip().strip("`") for cell in row.strip("|").split("|")]


def local(instants: set[datetime], zone: str) -> list[str]:
    return [instant.astimezone(ZoneInfo(zone)).strftime(TIME) for instant in sorted(instants)]


def times(cell: str) -> list[str]:
    return [] if cell == "–" else cell.split(", ")


def fires(expression: str, zone: str, after: datetime, count: int) -> list[datetime]:
    trigger = CronTrigger(expression=expression, timezone=zone)
    return [moment(slot_ms) for slot_ms in islice(slots(trigger, int(after.timestamp() * 1000)), count)]


def wall(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(("expression", "zone", "after", "expected"), list(table("## When the clocks change")))
def test_a_row_of_the_document(expression: str, zone: str, after: str, expected: str) -> None:
    """A schedule fires at the instants that docs/cron.md names, and at none between them."""
    found = fires(expression, zone, wall(after, zone), len(times(expected)))
    assert [instant.astimezone(ZoneInfo(zone)).strftime(TIME) for instant in found] == times(expected)


def test_the_comparison_is_large_enough() -> None:
    """At least sixty expressions are compared with croniter, and each takes part once."""
    expressions = expressions_compared()
    assert len(set(expressions)) == len(expressions) >= 60


@pytest.mark.parametrize(("zone", "after"), CHANGES)
def test_against_croniter_around_a_change_of_the_clocks(zone: str, after: str) -> None:
    """The instants are croniter's, but for the differences that docs/cron.md lists."""
    meant = {
        row[0]: (times(row[3]), times(row[4])) for row in table("### Differences from croniter") if row[1:3] == [zone, after]
    }
    found = {}
    for expression in expressions_compared():
        count = 200 if expression.startswith("*") else 12
        ours = fires(expression, zone, wall(after, zone), count)
        theirs = by_croniter(expression, wall(after, zone), count)
        end = min(ours[-1], theirs[-1])
        only_ours = {instant for instant in ours if instant <= end} - set(theirs)
        only_theirs = {instant for instant in theirs if instant <= end} - set(ours)
        if only_ours or only_theirs:
            found[expression] = (local(only_ours, zone), local(only_theirs, zone))
    assert found == meant


def expressions_compared() -> list[str]:
    return [expression.strip() for expression in re.split(r"[|\n]", EXPRESSIONS) if expression.strip()]


def by_croniter(expression: str, after: datetime, count: int) -> list[datetime]:
    # croniter writes the last Friday L5.
    *others, weekdays = plain(expression).split()
    iterator = croniter(" ".join([*others, re.sub(r"([0-7])L", r"L\1", weekdays)]), after)
    return [iterator.get_next(datetime).astimezone(UTC) for _ in range(count)]


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


@st.composite
def chosen(draw: st.DrawFn, low: int, high: int) -> tuple[str, frozenset[int]]:
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


@given(
    minute=chosen(0, 59),
    hour=chosen(0, 23),
    day=chosen(1, 31),
    month=chosen(1, 12),
    weekday=chosen(0, 7),
    zone=st.sampled_from(ZONES),
    after=st.integers(0, 6 * 365 * 86400).map(lambda seconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)),
)
@settings(max_examples=250, deadline=None)
def test_consecutive_fires_of_any_expression(
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    day: tuple[str, frozenset[int]],
    month: tuple[str, frozenset[int]],
    weekday: tuple[str, frozenset[int]],
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


def matches(fields: tuple[tuple[str, frozenset[int]], ...], shown: datetime) -> bool:
    (_, minutes), (_, hours), (day_text, days), (_, months), (weekday_text, weekdays) = fields
    by_day, by_weekday = shown.day in days, not weekdays.isdisjoint({shown.isoweekday(), shown.isoweekday() % 7})
    both = day_text.startswith("*") or weekday_text.startswith("*")
    on_day = (by_day and by_weekday) if both else (by_day or by_weekday)
    return shown.minute in minutes and shown.hour in hours and shown.month in months and on_day and shown.second == 0


def minute_by_minute(fields: tuple[tuple[str, frozenset[int]], ...], zone: str, after: int, until: int) -> list[int]:
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
    day=chosen(1, 31),
    weekday=chosen(0, 7),
    zone=st.sampled_from(ZONES),
    change=st.sampled_from([wall(after, zone) for zone, after in CHANGES]),
    shift=st.integers(-43200, 43200),
)
@settings(max_examples=150, deadline=None)
def test_no_fire_of_any_expression_is_missed(
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    day: tuple[str, frozenset[int]],
    weekday: tuple[str, frozenset[int]],
    zone: str,
    change: datetime,
    shift: int,
) -> None:
    """Around changes of the clocks the fires are those that a look at every single minute finds, and no others."""
    fields = (minute, hour, day, ("*", frozenset(range(1, 13))), weekday)
    expression = " ".join(text for text, _ in fields)
    after = int(change.timestamp()) + shift
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


@pytest.mark.parametrize(
    "expression",
    ["0 0 31 2,4 *", "0 0 30 2 *", "0 0 30,31 2 *", "0 0 30 2 */2", "0 0 */31 * MON#2", "0 0 */31 2 FRIL", "0 0 LW * */6"],
)
def test_an_expression_that_can_never_fire(expression: str) -> None:
    """It is refused with a message that says so, also where only both day fields together rule every day out."""
    with pytest.raises(ValueError, match="can never fire"):
        schedule.check_expression(expression)


@pytest.mark.parametrize(
    "expression", ["0 0 31 4 MON", "0 0 * 2 MON#5", "0 0 29 2 */7", "0 0 30 2 MON", "0 0 L 2 *", "0 0 31 1,2 *"]
)
def test_an_expression_that_can_fire_now_and_then(expression: str) -> None:
    """Rare is not never: these fire within the next fifty years, the first time as cronsim says."""
    schedule.check_expression(expression)
    (found,) = fires(expression, "UTC", datetime(2026, 1, 1, tzinfo=UTC), 1)
    assert found == next(CronSim(plain(expression), datetime(2026, 1, 1, tzinfo=UTC)))


def test_intervals_are_counted_from_1970() -> None:
    """Every scheduler counts the same slots of an interval, whenever it was started."""
    trigger = CronTrigger(every_s=7.5)
    assert list(islice(slots(trigger, 0), 3)) == [7500, 15000, 22500]
    assert list(islice(slots(trigger, 14_999), 2)) == [15000, 22500]
    assert list(islice(slots(trigger, 15_000), 2)) == [22500, 30000]


@pytest.mark.parametrize(("alias", "expression"), schedule.ALIASES.items())
def test_an_alias(alias: str, expression: str) -> None:
    """An alias is the expression it stands for."""
    assert CronTrigger(expression=alias).expression == expression
