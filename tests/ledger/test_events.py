"""Events by name: published whole, once, and listed without a gap."""

from __future__ import annotations

import asyncio

import pytest

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.events import Events, Occurrence
from runtime.ledger.store import ResultStore


def event(number: int) -> Occurrence:
    return Occurrence(id=str(number), source="/test", type="thing.made", document=b'{"id":"%d"}' % number)


async def pages(events: Events, limit: int) -> list[list[str]]:
    """The ids of all events, page by page."""
    found, cursor = list[list[str]](), None
    while True:
        records, cursor = await events.newest(cursor=cursor, limit=limit)
        found.append([record.document["id"] for record in records])
        if cursor is None:
            return found


async def walk(url: str) -> tuple[list[str], list[list[str]]]:
    ledger = AsyncLedger(url, ResultStore("file:///nowhere"))
    try:
        events = Events(ledger)
        first = await events.publish([event(n) for n in range(25)])
        again = await events.publish([event(n) for n in range(24, 30)])
        return [each.outcome for each in (*first, *again)], await pages(events, 10)
    finally:
        await ledger.close()


def test_pages_that_end_within_a_batch(redis_url: str) -> None:
    """All events of one batch share a millisecond, and still each is on exactly one page; a repeat is a duplicate."""
    outcomes, found = asyncio.run(walk(redis_url))
    assert outcomes == ["new"] * 25 + ["duplicate"] + ["new"] * 5
    assert [len(page) for page in found] == [10, 10, 10]
    assert sorted(int(each) for page in found for each in page) == list(range(30))


def test_a_foreign_cursor(redis_url: str) -> None:
    """A cursor of another list is refused by name."""

    async def ask() -> None:
        ledger = AsyncLedger(redis_url, ResultStore("file:///nowhere"))
        try:
            await Events(ledger).newest(cursor="no-cursor")
        finally:
            await ledger.close()

    with pytest.raises(ValueError, match="is no cursor"):
        asyncio.run(ask())
