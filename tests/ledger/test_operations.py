"""Dead letters as a person has them found, replayed and dropped."""

from __future__ import annotations

import asyncio

import pytest

from runtime.ledger import operations
from runtime.ledger.operations import DeadLetterFilter, Operations
from tests.ledger.book import Book


@pytest.fixture
def desk(book: Book) -> Operations:
    """What is replayed goes where it was."""
    return Operations(book.edge, lambda _: None)


def dead(book: Book, function: str) -> str:
    invocation_id = book.accept(function=function)
    book.finish(book.claim(), "failed")
    return invocation_id


def test_a_filter_finds_what_is_older_than_all_that_it_leaves_out(
    book: Book, desk: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is on what is found; what was not looked through for it is told."""
    old = dead(book, "rare")
    for _ in range(5):
        dead(book, "frequent")
    found = book.run(desk.dead_letters(DeadLetterFilter(function="rare"), most=2))
    assert ([record.id for record in found.records], found.is_complete) == ([old], True)
    found = book.run(desk.dead_letters(DeadLetterFilter(function="frequent"), most=2))
    assert (len(found.records), found.is_complete) == (2, False)
    monkeypatch.setattr(operations, "LOOKED_AT", 5)
    found = book.run(desk.dead_letters(DeadLetterFilter(function="rare"), most=2))
    assert (found.records, found.is_complete) == ([], False)


def test_a_dead_letter_that_is_dropped_under_its_replay(book: Book, desk: Operations) -> None:
    """Two people at one desk: it is passed by, and the others are replayed."""
    first, second = dead(book, "thumbnail"), dead(book, "thumbnail")
    records = [book.record(first), book.record(second)]
    book.run(desk.drop(records[:1]))

    async def both() -> list[str | None]:
        return [accepted and accepted.id for accepted in await asyncio.gather(*map(desk.replay, records))]

    gone, replay = book.run(both())
    assert gone is None
    assert replay is not None
    assert book.record(replay).replay_of == second
