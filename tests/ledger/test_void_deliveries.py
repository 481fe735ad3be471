"""What a worker was handed, and must not run: rubbish, broken records, and entries whose time is over."""

from __future__ import annotations

import time
from collections.abc import Callable

from runtime.ledger.keys import QueueKeys, new_id
from tests.ledger.book import Book, ids

KEYS = QueueKeys("default")


def test_an_incomplete_record_is_parked_beside_unharmed_neighbours(book: Book) -> None:
    """It has no row in the reply, so that those delivered with it are claimed as ever."""
    first = book.accept()
    broken = new_id("default")
    book.redis.hset(KEYS.record(broken), mapping={"status": "queued"})
    book.redis.xadd(KEYS.stream, {"id": broken})
    book.redis.set(KEYS.record(strange := new_id("default")), "no hash")
    book.redis.xadd(KEYS.stream, {"id": strange})
    second = book.accept()
    for name in ("attempt", "fence", "lost", "deaths", "accepted_ms"):
        book.redis.hset(KEYS.record(book.accept()), name, "many")
    assert ids(book.claims(10)) == [first, second]
    incomplete, other, *garbled = (parked[b"reason"] for _, parked in book.redis.xrange(KEYS.parked))
    assert incomplete == b"its record is incomplete"
    assert other.startswith(b"WRONGTYPE")
    assert garbled == [incomplete] * 5
    assert book.redis.xlen(KEYS.stream) == 2


def test_what_is_parked_is_kept_in_part(book: Book) -> None:
    """A thousand bodies of any size cannot fill the memory."""
    for _ in range(5):
        book.redis.xadd(KEYS.stream, {"body": b"x" * 2**20, **{f"field {n}": n for n in range(1000)}})
    assert book.claims(10) == []
    assert book.redis.xlen(KEYS.parked) == 5
    assert book.redis.memory_usage(KEYS.parked) < 20_000


def test_a_delivery_from_before_an_outage_is_void_once_it_ran_elsewhere(open_book: Callable[..., Book], redis_url: str) -> None:
    """The invocation waits under a newer entry by then; running it under the old one, it could not be taken over again."""
    book = open_book(redis_url, lease_s=0.05)
    invocation_id = book.accept()
    book.worker.declare("default")
    before_the_outage = book.worker.deliveries("default", "cut off", count=1, block_s=0.05)
    ends = time.monotonic() + 5
    while not (taken := book.take_over("other")) and time.monotonic() < ends:
        pass
    assert book.finish(taken[0], "retrying", retry_in_s=0.0) == "retrying"
    assert book.worker.promote("default")[0] == 1
    assert book.worker.claim("default", "cut off", before_the_outage) == []
    (claim,) = book.claims(consumer="other")
    assert (claim.id, claim.attempt) == (invocation_id, 2)
    assert book.redis.xpending(KEYS.stream, "workers")["pending"] == 1
