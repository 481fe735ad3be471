"""What the ledger knows of invocations that another carrier delivers: leases without a stream entry, and its outbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.ledger.keys import QueueKeys, new_id
from runtime.ledger.ledger import MAX_LOST
from runtime.ledger.records import Claim
from tests.ledger.book import Book, ids

KEYS = QueueKeys("default")
Eventually = Callable[..., object]


@pytest.fixture
def book(redis_url: str, tmp_path: Path) -> Iterator[Book]:
    """A book with leases of half a second, over the shared, emptied server."""
    made = Book(redis_url, tmp_path / "results", lease_s=0.5)
    made.worker.declare("default")
    yield made
    made.close()


def send(book: Book, count: int = 1) -> list[str]:
    """Accept invocations and have another carrier take them all."""
    accepted = [book.accept() for _ in range(count)]
    book.worker.sent("default", book.worker.deliveries("default", "publisher", count=100, block_s=0.05))
    return accepted


def claim(book: Book, *wanted: str, consumer: str = "one") -> list[Claim]:
    return book.worker.claim("default", consumer, [("", each) for each in wanted])


def test_a_claim_without_an_entry_holds_a_lease_until_it_is_finished(book: Book) -> None:
    """Nothing is in the stream meanwhile, and nothing is left of the lease afterwards."""
    (sent,) = send(book)
    (held,) = claim(book, sent)
    assert (held.id, held.entry, held.attempt) == (sent, "", 1)
    assert book.redis.zrange(KEYS.leases, 0, -1) == [sent.encode()]
    assert book.redis.xlen(KEYS.stream) == 0
    assert book.finish(held) == "succeeded"
    assert not book.redis.exists(KEYS.leases)


def test_a_message_that_comes_again_is_dropped(book: Book) -> None:
    """While its invocation runs, in the same batch or another, and when it is over: one claim."""
    (sent,) = send(book)
    (held,) = claim(book, sent, sent)
    assert claim(book, sent, consumer="two") == []
    book.finish(held)
    assert claim(book, sent) == []
    assert not book.redis.exists(KEYS.leases)
    assert not book.redis.exists(KEYS.parked)


def test_a_message_for_an_unknown_invocation_is_parked(book: Book) -> None:
    """With the id that it named; its neighbour is claimed."""
    (sent,) = send(book)
    unknown = new_id("default")
    assert ids(claim(book, unknown, sent)) == [sent]
    ((_, aside),) = book.redis.xrange(KEYS.parked)
    assert json.loads(aside[b"fields"]) == ["id", unknown]
    assert aside[b"reason"] == b"no such invocation"


def test_a_lease_that_runs_out_sends_the_invocation_again(book: Book, eventually: Eventually) -> None:
    """The loss is counted and noted, the fence is raised, and the lost worker's outcome is refused."""
    (sent,) = send(book)
    (lost,) = claim(book, sent)
    book.worker.promote("default")
    assert book.record(sent).status == "running"
    eventually(lambda: book.worker.promote("default") and book.record(sent).status == "queued")
    assert book.finish(lost) == "stale"
    record = book.record(sent)
    assert (record.lost, record.attempts[0]["outcome"], record.attempts[0]["error"]["type"]) == (1, "lost", "WorkerLost")
    ((_, again),) = book.worker.deliveries("default", "publisher", count=5, block_s=0.05)
    assert again == sent
    (held,) = claim(book, sent)
    assert (held.attempt, held.lost) == (2, 1)
    assert book.worker.renew("default", "one", [lost]) == [(lost, "stale")]
    assert book.finish(held) == "succeeded"


def test_a_renewed_lease_without_an_entry_holds(book: Book, eventually: Eventually) -> None:
    """As long as it is renewed nobody else gets the invocation."""
    renewed, silent = send(book, 2)
    kept, _ = claim(book, renewed, silent)

    def silent_one_is_lost() -> bool:
        assert book.worker.renew("default", "one", [kept]) == []
        book.worker.promote("default")
        return book.record(silent).status == "queued"

    eventually(silent_one_is_lost)
    assert book.record(renewed).status == "running"
    assert book.record(renewed).lost == 0


def test_without_recovery_a_promotion_leaves_leases_alone(book: Book, eventually: Eventually) -> None:
    """After an outage of Redis their holders get the time to renew them."""
    (sent,) = send(book)
    claim(book, sent)
    eventually(lambda: book.redis.zscore(KEYS.leases, sent) < now_ms(book))
    book.worker.promote("default", recover=False)
    assert book.record(sent).status == "running"


def test_a_worker_lost_too_often_fails_what_it_ran(book: Book, eventually: Eventually) -> None:
    """The same rule as on streams."""
    (sent,) = send(book)
    for _ in range(MAX_LOST):
        claim(book, sent)
        book.redis.zadd(KEYS.leases, {sent: 1})
        book.worker.promote("default")
    record = book.record(sent)
    assert (record.status, record.lost) == ("failed", MAX_LOST)
    assert record.error is not None
    assert record.error["type"] == "WorkerLost"
    assert not book.redis.exists(KEYS.leases)


def test_handing_back_a_claim_without_an_entry_sends_it_again(book: Book) -> None:
    """No attempt is burnt, and its lease is gone."""
    (sent,) = send(book)
    held = claim(book, sent)
    assert book.worker.hand_back("default", held) == 1
    record = book.record(sent)
    assert (record.status, record.attempt) == ("queued", 0)
    assert not book.redis.exists(KEYS.leases)
    assert [each for _, each in book.worker.deliveries("default", "publisher", count=5, block_s=0.05)] == [sent]


def test_what_a_dead_publisher_has_read_is_taken_over(book: Book, eventually: Eventually) -> None:
    """Until it is confirmed an entry stays, whoever has read it; a lease later it is another publisher's to send."""
    accepted = [book.accept() for _ in range(30)]
    read = book.worker.deliveries("default", "dead", count=100, block_s=0.05)
    assert book.worker.unsent("default", "alive", count=100) == []
    assert book.worker.own_unsent("default", "dead", count=100) == read
    assert eventually(lambda: book.worker.unsent("default", "alive", count=100)) == read
    assert book.worker.own_unsent("default", "alive", count=100) == read
    assert [each for _, each in read] == accepted
    book.worker.sent("default", read)
    assert book.redis.xlen(KEYS.stream) == 0
    assert book.worker.own_unsent("default", "alive", count=100) == []


def test_a_message_that_nobody_claims_is_sent_again_in_the_end(book: Book) -> None:
    """A carrier that loses what it has confirmed loses nothing: the ledger remembers what it is yet to deliver."""
    waiting, cancelled = send(book, 2)
    assert book.redis.zscore(KEYS.leases, waiting) > now_ms(book) + 3000 * 1000
    book.redis.hset(KEYS.record(cancelled), "status", "cancelled")
    book.redis.zadd(KEYS.leases, {waiting: 1, cancelled: 1})
    book.worker.promote("default")
    assert [each for _, each in book.worker.deliveries("default", "publisher", count=5, block_s=0.05)] == [waiting]
    assert not book.redis.exists(KEYS.leases)


def test_what_is_claimed_before_its_confirm_keeps_its_lease(book: Book) -> None:
    """A message may be faster than its confirm; and what is over by then leaves nothing behind."""
    runs, over = book.accept(), book.accept()
    read = book.worker.deliveries("default", "publisher", count=5, block_s=0.05)
    claims = claim(book, runs, over)
    book.finish(claims[1])
    book.worker.sent("default", read)
    assert book.redis.zrange(KEYS.leases, 0, -1) == [runs.encode()]
    assert book.redis.zscore(KEYS.leases, runs) < now_ms(book) + 1000


def test_what_ran_when_redis_carried_the_queue_is_not_lost_by_the_change(book: Book, eventually: Eventually) -> None:
    """Its stream entry is taken over by a publisher, which counts the loss; the message finds it queued."""
    accepted = book.accept()
    (before,) = book.claims(consumer="killed")
    taken = eventually(lambda: book.worker.unsent("default", "publisher", count=5))
    assert taken == [(before.entry, accepted)]
    book.worker.sent("default", [(before.entry, accepted)])
    (after,) = claim(book, accepted)
    assert (after.attempt, after.lost) == (2, 1)
    assert book.finish(before) == "stale"


def now_ms(book: Book) -> float:
    time: Any = book.redis.time()
    return time[0] * 1000 + time[1] / 1000
