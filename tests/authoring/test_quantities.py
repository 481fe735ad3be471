"""Durations, sizes and schedules, for every text that anybody may write."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from runtime.authoring.cron_fields import plain
from runtime.authoring.quantities import seconds, size_in_bytes
from runtime.authoring.schedule import check_expression

UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("250ms", 0.25),
        ("20s", 20),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (" 5m ", 300),
        ("0s", 0),
        (2, 2),
        (0.5, 0.5),
        (timedelta(days=1), 86400),
    ],
)
def test_a_duration_is_read(written: str | float | timedelta, wanted: float) -> None:
    """Texts, numbers and timedeltas."""
    assert seconds(written) == pytest.approx(wanted)


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from(list(UNITS))), min_size=1, max_size=5))
def test_parts_of_a_duration_add_up(parts: list[tuple[int, str]]) -> None:
    """However many units are strung together."""
    text = "".join(f"{count}{unit}" for count, unit in parts)
    assert seconds(text) == pytest.approx(sum(count * UNITS[unit] for count, unit in parts))


@given(st.text() | st.integers() | st.floats() | st.timedeltas() | st.none() | st.booleans())
def test_anything_is_a_duration_or_a_value_error(value: object) -> None:
    """What is accepted is finite and not negative; what is not is a ValueError."""
    try:
        read = seconds(value)  # type: ignore[arg-type]  # authors may write anything
    except ValueError:
        return
    assert 0 <= read < float("inf")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("1B", 1),
        ("64KB", 64_000),
        ("512MB", 512 * 10**6),
        ("1GiB", 2**30),
        ("1.5 KiB", 1536),
        ("2mib", 2**21),
        (17, 17),
        (0, 0),
    ],
)
def test_a_size_is_read(written: str | int, wanted: int) -> None:
    """Powers of ten and of two, by the letters of IEC 80000-13."""
    assert size_in_bytes(written) == wanted


@given(
    st.text()
    | st.integers()
    | st.floats()
    | st.none()
    | st.from_regex(r"[0-9]{1,400}(\.[0-9]+)? ?[KMGkmg]?[iI]?[bB]", fullmatch=True)
)
def test_anything_is_a_size_or_a_value_error(value: object) -> None:
    """What is accepted is a whole number of bytes; what is not is a ValueError."""
    try:
        read = size_in_bytes(value)  # type: ignore[arg-type]  # authors may write anything
    except ValueError:
        return
    assert isinstance(read, int)
    assert read >= 0


def field(low: int, high: int, words: list[str]) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str) | (st.sampled_from(words) if words else st.nothing())
    part = st.one_of(
        st.just("*"),
        number,
        st.tuples(number, number).map("-".join),
        st.tuples(st.sampled_from(["*", f"{low}-{high}"]), st.integers(0, high + 1).map(str)).map("/".join),
    )
    return st.lists(part, min_size=1, max_size=2).map(",".join)


EXPRESSIONS = st.tuples(
    field(0, 60, []),
    field(0, 24, []),
    field(0, 32, ["L", "LW", "l"]),
    field(0, 13, ["JAN", "dec"]),
    field(0, 8, ["SUN", "mon", "FRI", "SAT", "MON#1", "5L", "0#5"]),
).map(" ".join)


@given(EXPRESSIONS)
def test_every_schedule_that_is_accepted_fires(expression: str) -> None:
    """What passes the check is understood by the scheduler's own reader, and has a next fire."""
    try:
        check_expression(expression)
    except ValueError as error:
        assert expression in str(error)  # noqa: PT017  # either answer is right
        return
    assert next(CronSim(plain(expression), datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")))).year < 2080


@given(st.text(max_size=40))
def test_any_text_is_a_schedule_or_a_value_error(text: str) -> None:
    """No text ends in another error."""
    try:
        check_expression(text)
    except ValueError:
        return
    assert len(text.split()) == 5
