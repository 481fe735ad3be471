"""Schedules as documents and in words, and the API behind /v1/schedules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runtime.authoring.triggers import CronTrigger
from tests.cron.scheduled import Cron
from triggers.cron.schedule import Schedule
from triggers.cron.schedules import UnknownScheduleError
from triggers.cron.words import ScheduleError, in_words, preview, until


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (CronTrigger(expression="0 9 * * MON-FRI"), "At 09:00 on Monday through Friday"),
        (CronTrigger(expression="0 0 * * FRIL"), "At 00:00 on the last Friday of the month"),
        (CronTrigger(every_s=30), "Every 30 seconds"),
        (CronTrigger(every_s=60), "Every minute"),
        (CronTrigger(every_s=1), "Every second"),
        (CronTrigger(every_s=5400), "Every 90 minutes"),
        (CronTrigger(every_s=1.5), "Every 1.5 seconds"),
        (CronTrigger(every_s=14 * 86400), "Every 14 days"),
        (CronTrigger(every_s=1_234_567), "Every 1234567 seconds"),
    ],
)
def test_a_schedule_in_words(trigger: CronTrigger, words: str) -> None:
    """Expressions and intervals are said in English."""
    assert in_words(trigger) == words


def test_two_long_intervals_that_differ_by_little(cron: Cron) -> None:
    """Each is a schedule of its own, and is written in full."""
    one = cron.deploy(tick=CronTrigger(every_s=1_234_567))["tick"]
    two = Schedule.of(CronTrigger(every_s=1_234_567.5), one.function)
    assert one.id != two.id
    assert (one.text, two.text) == ("every 1234567s", "every 1234567.5s")


@pytest.mark.parametrize(
    ("in_s", "words"),
    [
        (0.2, "in 0 seconds"),
        (1.1, "in 1 second"),
        (59.2, "in 59 seconds"),
        (61, "in 1 minute"),
        (7300, "in 2 hours"),
        (200_000, "in 2 days"),
    ],
)
def test_how_far_off_a_fire_is(in_s: float, words: str) -> None:
    """The largest whole unit says it."""
    assert until(in_s) == words


def test_the_next_fires_of_an_expression() -> None:
    """`oncue cron next` gets the fires in UTC and in the zone, through a change of the clocks."""
    found = preview("30 2 * * *", "America/New_York", count=2, after=datetime(2026, 3, 8, 0, 0, tzinfo=UTC))
    assert found["words"] == "At 02:30 every day"
    assert [(fire["utc"], fire["local"]) for fire in found["next"]] == [
        ("2026-03-08T07:00:00+00:00", "2026-03-08T03:00:00-04:00"),
        ("2026-03-09T06:30:00+00:00", "2026-03-09T02:30:00-04:00"),
    ]
    assert found["next"][0]["in_s"] == 7 * 3600


@pytest.mark.parametrize(
    ("expression", "zone", "message"),
    [
        ("61 * * * *", "UTC", "the minute field '61' is out of range"),
        ("* * * * *", "Mars/Base", "unknown timezone 'Mars/Base'"),
    ],
)
def test_an_expression_that_is_none(expression: str, zone: str, message: str) -> None:
    """The error names the field or the zone."""
    with pytest.raises(ScheduleError, match=message):
        preview(expression, zone)


def test_the_list_of_schedules(cron: Cron) -> None:
    """Every deployed schedule is listed with its next fires, also before any scheduler has seen it."""
    cron.deploy(
        daily=CronTrigger(expression="@daily", timezone="Europe/Paris", jitter_s=5), often=CronTrigger(every_s=60), never=None
    )
    daily, often = cron.ask(lambda schedules: schedules.list())
    assert (daily["function"], daily["schedule"], daily["timezone"], daily["jitter_s"]) == (
        "daily",
        "0 0 * * *",
        "Europe/Paris",
        5,
    )
    assert (daily["paused"], daily["fired"], daily["missed"], daily["fires"], daily["misses"]) == (False, 0, 0, [], [])
    assert [fire["local"][11:16] for fire in daily["next"]] == ["00:00"] * 3
    assert (often["function"], often["words"]) == ("often", "Every minute")


def test_a_schedule_that_is_unknown(cron: Cron) -> None:
    """What is asked of a schedule that is not deployed is an error of its own."""
    with pytest.raises(UnknownScheduleError, match="daily:12345678"):
        cron.ask(lambda schedules: schedules.pause("daily:12345678"))
