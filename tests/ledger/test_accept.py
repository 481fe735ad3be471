"""What an acceptance promises: a record and a queue entry under one id, once."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from runtime.ledger.keys import QueueKeys, new_id, queue_of
from tests.ledger.book import Book, acceptance, ids


def test_a_new_acceptance_is_queued_with_its_record(book: Book) -> None:
    """Record and queue entry exist once the answer is there."""
    invocation_id = book.accept()
    record = book.record(invocation_id)
    assert (record.status, record.function, record.version, record.attempt) == ("queued", "thumbnail", "v1", 0)
    assert record.key == invocation_id
    assert ids(book.claims(10)) == [invocation_id]


def test_event_and_blob_reach_the_claim_byte_for_byte(book: Book) -> None:
    """Binary bodies of a megabyte, and text beyond ASCII, pass the scripts unchanged."""
    blob = bytes(range(256)) * 4096
    event = '{"data":{"name":"Ωmega 😀","nul":"\\u0000"}}'.encode()
    book.accept(event=event, blob=blob, key="clé-✓", more={"trace": '{"traceparent":"00-é"}'})
    claim = book.claim()
    assert (claim.event, claim.blob, claim.key) == (event, blob, "clé-✓")
    assert claim.trace == '{"traceparent":"00-é"}'.encode()


def test_an_empty_blob_is_not_an_absent_one(book: Book) -> None:
    """A raw body of no bytes arrives as such."""
    book.accept(blob=b"")
    assert book.claim().blob == b""
    book.accept()
    assert book.claim().blob is None


def test_the_same_key_and_body_answers_the_first_id(book: Book) -> None:
    """A duplicate makes no second invocation."""
    first = book.accept(dedupe="d1", fingerprint="f1")
    (again,) = book.answers(acceptance(dedupe="d1", fingerprint="f1"))
    assert (again.outcome, again.id) == ("duplicate", first)
    assert ids(book.claims(10)) == [first]


def test_the_same_key_with_another_body_is_a_conflict(book: Book) -> None:
    """A conflict names the invocation that has the key, and writes nothing."""
    first = book.accept(dedupe="d1", fingerprint="f1")
    (other,) = book.answers(acceptance(dedupe="d1", fingerprint="f2"))
    assert (other.outcome, other.id) == ("conflict", first)
    assert len(book.claims(10)) == 1


def test_twins_in_one_batch_are_told_apart(book: Book) -> None:
    """The key holds within one script call, too."""
    answers = book.answers(*(acceptance(dedupe="d", fingerprint="f" if n < 2 else "g") for n in range(3)))
    assert [answer.outcome for answer in answers] == ["new", "duplicate", "conflict"]
    assert len({answer.id for answer in answers}) == 1


@pytest.mark.parametrize("dedupe", ["", "digest"])
def test_an_acceptance_sent_again_under_its_id_counts_once(book: Book, dedupe: str) -> None:
    """Who lost the reply may repeat the call."""
    one = acceptance(dedupe=dedupe, fingerprint="f")
    assert book.accept(one) == one.id
    assert book.accept(one) == one.id
    assert ids(book.claims(10)) == [one.id]


def test_a_key_is_free_again_after_its_ttl(book: Book, eventually: Callable[..., object]) -> None:
    """The dedupe window ends."""
    first = book.accept(dedupe="d", fingerprint="f", dedupe_ttl_s=0.05)
    eventually(lambda: book.answers(acceptance(dedupe="d", fingerprint="f"))[0].outcome == "new")
    assert len(book.claims(10)) == 2
    assert book.record(first).status == "running"


def test_a_delayed_acceptance_waits_until_it_is_due(book: Book) -> None:
    """It is scheduled, no worker sees it, and promotion queues it when its time has come."""
    invocation_id = book.accept(delay_s=0.2)
    record = book.record(invocation_id)
    assert record.status == "scheduled"
    assert record.due_ms - record.accepted_ms == 200
    moved, next_s = book.worker.promote("default")
    assert moved == 0
    assert next_s is not None
    assert 0 < next_s <= 0.2
    assert book.claims(10) == []
    ends = time.monotonic() + 5
    while book.worker.promote("default")[0] == 0:
        assert time.monotonic() < ends
        book.worker.await_wake("default", 0.05)
    assert book.record(invocation_id).status == "queued"
    assert ids(book.claims(10)) == [invocation_id]
    assert book.worker.promote("default") == (0, None)


def test_a_moment_in_the_past_is_now(book: Book) -> None:
    """`at` before now queues at once."""
    assert book.record(book.accept(at_ms=1)).status == "queued"
    assert book.record(book.accept(at_ms=int(time.time() * 1000) + 60_000)).status == "scheduled"


def test_the_promoter_is_woken_for_a_new_earliest_only(book: Book) -> None:
    """The wake list holds one element at most."""
    book.accept(delay_s=60)
    book.accept(delay_s=90)
    book.accept(delay_s=30)
    assert book.redis.llen(QueueKeys("default").wake) == 1
    started = time.monotonic()
    book.worker.await_wake("default", 5)
    assert time.monotonic() - started < 4
    assert book.redis.exists(QueueKeys("default").wake) == 0


def test_a_wait_for_what_is_due_ends_on_time(book: Book) -> None:
    """Delays are exact: the wait does not depend on how often Redis looks for commands that have waited long enough."""
    late = []
    for n in range(10):
        started = time.monotonic()
        book.worker.await_wake("default", 0.03 + n / 200)
        late.append(time.monotonic() - started - 0.03 - n / 200)
    assert sorted(late)[7] < 0.02
    assert min(late) > -0.002


def test_acceptances_of_one_moment_share_script_calls(book: Book) -> None:
    """A thousand acceptances take a handful of writes, and each caller hears of its own."""
    book.accept()  # loads the script
    before = book.script_calls()
    wanted = [acceptance() for _ in range(1000)]
    answers = book.answers(*wanted)
    assert [answer.id for answer in answers] == [each.id for each in wanted]
    assert book.script_calls() - before <= 3


def test_large_bodies_are_split_over_several_writes(book: Book) -> None:
    """A write is bounded by bytes, and nothing is lost at the seams."""
    wanted = [acceptance(blob=bytes([n]) * 2**20) for n in range(20)]
    assert len({answer.id for answer in book.answers(*wanted)}) == 20
    claims = book.claims(20)
    assert [claim.blob for claim in claims] == [each.blob for each in wanted]


def test_queues_do_not_mix(book: Book) -> None:
    """Each queue has its own stream, and its name travels in the id."""
    media, default = book.accept(queue="media"), book.accept()
    assert queue_of(media) == "media"
    assert ids(book.claims(10, queue="media")) == [media]
    assert ids(book.claims(10)) == [default]


def test_ids_sort_by_time_and_tell_their_queue() -> None:
    """An id is the queue and a ULID; other text names no queue."""
    first = new_id("media")
    ends = time.time_ns() // 1_000_000 + 2
    while time.time_ns() // 1_000_000 < ends:
        pass
    assert first < new_id("media")
    for text in ("", "media", "Media-" + "0" * 26, "media-" + "0" * 25, first + "\n", f"{first}x", "../" + first):
        assert queue_of(text) is None
