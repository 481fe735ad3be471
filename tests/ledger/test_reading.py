"""What readers see: records, lists by cursor, output, and being told of changes."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.embedded import EmbeddedServer
from runtime.ledger.cursors import read_cursor, write_cursor
from runtime.ledger.keys import QueueKeys, new_id
from runtime.ledger.records import ResultInfo
from runtime.ledger.store import name_of
from tests.ledger.book import Book, acceptance


@pytest.mark.parametrize("invocation_id", ["", "nonsense", "default-" + "0" * 26, "../../x", "default-é"])
def test_what_never_was_is_none(book: Book, invocation_id: str) -> None:
    """An id that names nothing, or is none, reads as None everywhere."""
    assert book.run(book.edge.get(invocation_id)) is None
    assert book.run(book.edge.watch(invocation_id)) is None
    assert book.run(book.edge.wait(invocation_id, 0.01)) is None


def test_a_list_is_newest_first_and_pages_to_its_end(book: Book) -> None:
    """Following the cursors gives every invocation once, across queues."""
    accepted = [book.accept(queue=("default", "media")[n % 2]) for n in range(25)]
    times = {each: book.record(each).accepted_ms for each in accepted}
    found = book.all_ids(limit=4)
    assert sorted(found) == sorted(accepted)
    assert found == sorted(accepted, key=lambda each: (times[each], each), reverse=True)


def test_a_batch_of_one_millisecond_pages_to_its_end(book: Book) -> None:
    """Hundreds of invocations accepted by one script share their time; none is skipped, none repeated."""
    accepted = [answer.id for answer in book.answers(*(acceptance() for _ in range(400)))]
    assert len({book.record(each).accepted_ms for each in accepted[:300:50]}) < 6
    assert book.all_ids(limit=30) == sorted(accepted, key=lambda each: (book.record(each).accepted_ms, each), reverse=True)


def test_a_list_is_filtered_by_function_status_and_time(book: Book) -> None:
    """Filters combine, and a filtered list pages to its end, too."""
    first = [book.accept(function="first") for _ in range(6)]
    second = [book.accept(function="second") for _ in range(3)]
    for claim in book.claims(3):
        book.finish(claim, "failed")
    assert sorted(book.all_ids(function="first", limit=4)) == sorted(first)
    assert sorted(book.all_ids(status="failed", limit=2)) == sorted(first[:3])
    assert sorted(book.all_ids(function="second", status="queued", limit=1)) == sorted(second)
    assert book.all_ids(function="third") == []
    assert book.all_ids(since_ms=int(time.time() * 1000) + 60_000) == []
    assert sorted(book.all_ids(since_ms=book.record(second[0]).accepted_ms, function="second")) == sorted(second)


def test_expired_records_leave_no_hole_in_a_list(book: Book) -> None:
    """The index outlives records; a list passes them by and goes on behind them."""
    accepted = [book.accept() for _ in range(12)]
    for gone in accepted[4:]:
        book.redis.delete(QueueKeys("default").record(gone))
    first, cursor = book.page(limit=3)
    assert sorted(first) == sorted(accepted[1:4])
    second, cursor = book.page(limit=3, cursor=cursor)
    assert (second, cursor) == (accepted[:1], None)


def test_a_page_looks_through_the_index_only_so_far(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of expired records cost one page no more than its bound; the next one goes on behind it."""
    monkeypatch.setattr("runtime.ledger.async_ledger.SCAN_LIMIT", 40)
    monkeypatch.setattr("runtime.ledger.async_ledger._STEP", 20)
    accepted = book.accept()
    for n in range(100):
        book.redis.zadd(QueueKeys("default").index(), {new_id("default"): 4e12 + n})
    found, cursor = book.page(limit=3)
    assert found == []
    assert cursor is not None
    assert book.all_ids(limit=3) == [accepted]


@pytest.mark.parametrize("cursor", ["x", "é", "W10", "bnVsbA", "WzEsMl0", "=", "\x00", "WzFlOTk5OSwiYSJd"])
def test_a_foreign_cursor_is_refused(book: Book, cursor: str) -> None:
    """The caller is told what is wrong with it."""
    with pytest.raises(ValueError, match="is no cursor of this list"):
        book.page(cursor=cursor)


@given(st.integers(0, 2**53), st.from_regex(r"[a-z][a-z0-9_]{0,31}-[0-9a-z]{26}", fullmatch=True))
def test_a_cursor_reads_back_what_was_written(accepted_ms: int, invocation_id: str) -> None:
    """A cursor is text that is safe in a URL and loses nothing."""
    cursor = write_cursor((accepted_ms, invocation_id))
    assert cursor is not None
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?# ")
    assert read_cursor(cursor) == (accepted_ms, invocation_id)


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_a_value_error(text: str) -> None:
    """No cursor that a stranger makes up ends in another error."""
    try:
        position = read_cursor(text)
    except ValueError:
        return
    assert isinstance(position[0], int)


def test_output_is_kept_in_order_and_capped(book: Book) -> None:
    """Frames come back as they were said; a stream is bounded; progress is part of the record."""
    invocation_id = book.accept()
    claim = book.claim()
    for n in range(0, 5000, 250):
        frames = [b'{"kind":"log","line":"%d"}' % m for m in range(n, n + 250)]
        assert book.worker.append_output(claim, frames, b'{"fraction":0.5,"note":"h\xc3\xa9"}')
    assert book.record(invocation_id).progress == {"fraction": 0.5, "note": "hé"}
    assert book.redis.xlen(QueueKeys("default").output(invocation_id)) < 1500
    book.finish(claim, output=[b'{"kind":"log","line":"last"}'])
    page = book.run(book.edge.output(book.record(invocation_id)))
    assert len(page) == 500
    lines: list[bytes] = []
    after = "0"
    while page := book.run(book.edge.output(book.record(invocation_id), after)):
        lines += [frame for _, frame in page]
        after = page[-1][0]
    assert lines[-1] == b'{"kind":"log","line":"last"}'
    assert lines[-2] == b'{"kind":"log","line":"4999"}'


def test_records_with_many_attempts_are_read_whole(book: Book) -> None:
    """However often it was tried, every attempt is told."""
    invocation_id = book.accept()
    for _ in range(7):
        book.finish(book.claim(), "retrying", retry_in_s=0)
        book.worker.promote("default")
    assert [attempt["attempt"] for attempt in book.record(invocation_id).attempts] == [1, 2, 3, 4, 5, 6, 7]


def test_counts_tell_how_attempts_ended(book: Book) -> None:
    """By function and outcome, over all queues."""
    for n in range(5):
        book.accept(queue=("default", "media")[n % 2], function="a b" if n else "alone")
    for queue in ("default", "media"):
        for claim in book.claims(5, queue=queue):
            book.finish(claim, "failed" if queue == "media" else "succeeded")
    assert book.run(book.edge.counts()) == {"alone": {"succeeded": 1}, "a b": {"succeeded": 2, "failed": 2}}


def test_who_waits_is_told_the_moment_it_is_final(book: Book) -> None:
    """A waiter gets the final record by notification, long before its own deadline."""

    async def scene() -> None:
        await book.edge.start()
        invocation_id = (await book.edge.accept(acceptance())).id
        waiter = asyncio.create_task(book.edge.wait(invocation_id, 20))
        claim = await asyncio.to_thread(book.claim)
        while book.redis.hget(QueueKeys("default").record(invocation_id), "watch") is None:  # noqa: ASYNC110  # Redis tells, no event does
            await asyncio.sleep(0.005)
        ended = time.monotonic()
        await asyncio.to_thread(book.finish, claim)
        record = await waiter
        assert record is not None
        assert record.status == "succeeded"
        assert time.monotonic() - ended < 2

    book.run(scene())


def test_waiting_ends_at_its_deadline(book: Book) -> None:
    """The record is returned as it stands then."""

    async def scene() -> None:
        await book.edge.start()
        invocation_id = (await book.edge.accept(acceptance())).id
        record = await book.edge.wait(invocation_id, 0.05)
        assert record is not None
        assert record.status == "queued"

    book.run(scene())
    assert book.edge.news._bells == {}


def test_many_wait_for_one_and_for_another(book: Book) -> None:
    """Every waiter is told of its own, and of nothing else's."""

    async def scene() -> None:
        await book.edge.start()
        first, second = [
            each.id for each in await asyncio.gather(*(book.edge.accept(acceptance(watch=True)) for _ in range(2)))
        ]
        waiters = [asyncio.create_task(book.edge.wait(first, 20)) for _ in range(200)]
        other = asyncio.create_task(book.edge.wait(second, 0.5))
        claims = {claim.id: claim for claim in await asyncio.to_thread(book.claims, 2)}
        await asyncio.to_thread(book.finish, claims[first])
        assert {record.status for record in await asyncio.gather(*waiters) if record} == {"succeeded"}
        record = await other
        assert record is not None
        assert record.status == "running"

    book.run(scene())


def test_a_waiter_outlives_a_restart_of_the_server(own_server: EmbeddedServer, open_book: Callable[..., Book]) -> None:
    """What is published while the connection is away is made up for by a ring when it is back."""
    book = open_book(own_server.url)

    async def scene() -> None:
        await book.edge.start()
        invocation_id = (await book.edge.accept(acceptance())).id
        claim = await asyncio.to_thread(book.claim)
        waiter = asyncio.create_task(book.edge.wait(invocation_id, 30))
        while book.redis.hget(QueueKeys("default").record(invocation_id), "watch") is None:  # noqa: ASYNC110  # Redis tells, no event does
            await asyncio.sleep(0.005)
        # in the main thread: the server dies with the thread that started it
        own_server.kill()
        own_server.start()
        book.finish(claim)
        record = await asyncio.wait_for(waiter, 20)
        assert record is not None
        assert record.status == "succeeded"

    book.run(scene())


def test_a_large_result_comes_from_the_store(book: Book) -> None:
    """The record says where the bytes are, and the bytes are found there; when they are gone, that is None."""
    invocation_id = book.accept()
    body = b"x" * (2**20 + 1)
    info = ResultInfo(media_type="text/plain", size=len(body), sha256=hashlib.sha256(body).hexdigest(), place="store")
    book.edge._store.put(invocation_id, info.sha256, body)
    book.edge._store.put(invocation_id, "0" * 64, b"what a worker that was given up for lost has made of it")
    book.finish(book.claim(), body=b"", result=msgspec.json.encode(info))
    record = book.record(invocation_id)
    assert book.run(book.edge.result(record)) == body
    book.edge._store.delete([name_of(invocation_id, info.sha256), new_id("default")])
    assert book.run(book.edge.result(record)) is None
    assert book.run(book.edge.get(new_id("default"))) is None
