"""The checker finds what it is there to find."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.chaos.checking import Findings, Line, check, recoveries
from tests.ledger.book import Book, acceptance


@pytest.fixture
def book(tmp_path: Path, redis_url: str) -> Iterator[Book]:
    """A book over the shared, emptied server."""
    opened = Book(redis_url, tmp_path / "results")
    yield opened
    opened.close()


def line(invocation_id: str, what: str = "start", *, attempt: int = 1, key: str = "k", at: float = 1.0, **more: object) -> Line:
    values = {"function": "work", "worker": 1, "of": None, **more}
    return Line(at=at, what=what, id=invocation_id, attempt=attempt, key=key, **values)  # type: ignore[arg-type]  # as above


def done(book: Book) -> str:
    invocation_id = book.accept(function="work")
    book.finish(book.claim())
    return invocation_id


def checked(book: Book, ids: list[str], journal: list[Line]) -> Findings:
    return check(book.redis, [(each, f"key-{n}", "work") for n, each in enumerate(ids)], journal)


def test_a_run_without_fault_passes(book: Book) -> None:
    """Accepted, started once, one effect, succeeded: nothing to tell."""
    one = done(book)
    findings = checked(book, [one], [line(one), line(one, "effect")])
    assert findings.violations == []
    assert (findings.accepted, findings.succeeded, findings.repeats) == (1, 1, 0)


def test_what_was_promised_and_is_gone_is_lost(book: Book) -> None:
    """A promise without a record counts, and is told."""
    gone = acceptance().id
    findings = checked(book, [gone], [])
    assert findings.lost == 1
    assert findings.violations == [f"{gone} was accepted and has no record"]


def test_what_never_ends_is_told(book: Book) -> None:
    """An invocation that waits for ever is no success, and its entry is no empty queue."""
    stranded = book.accept(function="work")
    assert checked(book, [stranded], []).violations == [
        f"{stranded} is still queued in attempt 0",
        "queue default has 1 entries in the stream",
    ]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([("effect", 1, "k"), ("effect", 2, "k")], "had 2 effects"),
        ([("effect", 1, "k"), ("effect", 2, "other")], "had 2 effects"),
        ([], "succeeded with 0 effects"),
        ([("start", 1, "k"), ("effect", 1, "k")], "started twice"),
    ],
)
def test_effects_and_attempts_are_counted(book: Book, more: list[tuple[str, int, str]], words: str) -> None:
    """A second effect under any key, a success without one, and an attempt that began twice are violations."""
    one = done(book)
    journal = [line(one), *(line(one, what, attempt=attempt, key=key) for what, attempt, key in more)]
    assert any(words in violation for violation in checked(book, [one], journal).violations)


def test_a_run_that_nobody_was_promised_is_told(book: Book) -> None:
    """No effect without accept."""
    one, stranger = done(book), "default-" + "1" * 26
    journal = [line(one), line(one, "effect"), line(stranger), line(stranger, "effect", key="x")]
    assert f"{stranger} (k) ran and was never promised" in checked(book, [one], journal).violations


def test_two_promises_under_one_key_are_told(book: Book) -> None:
    """The same key again must give the same invocation."""
    ids = [done(book), done(book)]
    journal = [each for n, one in enumerate(ids) for each in (line(one, key=str(n)), line(one, "effect", key=str(n)))]
    findings = check(book.redis, [(each, "same", "work") for each in ids], journal)
    assert findings.violations == [f"key same was promised as {sorted(ids)}"]


def test_a_failure_without_a_reason_is_told(book: Book) -> None:
    """Every failure says why."""
    one = book.accept(function="work")
    book.finish(book.claim(), "failed", error=b'{"kind":"raised","type":"","message":""}')
    assert any("failed without a reason" in violation for violation in checked(book, [one], [line(one)]).violations)


def test_recovery_is_measured_from_the_kill_to_the_next_attempt(book: Book) -> None:
    """Of an attempt that had started its own worker's kill counts; of one that had not, the first kill since its claim."""
    one = done(book)
    attempts = [
        {"attempt": n, "started_ms": started_ms, "outcome": outcome}
        for n, started_ms, outcome in ((1, 1_000, "lost"), (2, 2_000, "lost"), (3, 3_500, "succeeded"))
    ]
    lost_twice = msgspec.structs.replace(book.record(one), attempts=attempts)
    kills = [(7, 1.25), (8, 2.75), (9, 3.0)]
    assert recoveries([lost_twice], [line(one, worker=7)], kills) == [0.75, 0.75]
