"""When schedules are due: against the tables of docs/cron.md, against croniter, and for any expression at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from cronsim import CronSim

from runtime.authoring import schedule
from runtime.authoring.cron_fields import plain
from runtime.authoring.triggers import CronTrigger
from tests.cron.instants import CHANGES, fires, wall
from triggers.cron.slots import slots

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cron.md").read_text()
TIME = "%Y-%m-%d %H:%M%z"

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
