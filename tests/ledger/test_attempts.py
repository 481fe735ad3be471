"""From claim to finish: attempts, fence tokens, retries, lost workers and hand-backs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import redis

from runtime.ledger.keys import QueueKeys
from runtime.ledger.ledger import MAX_LOST
from runtime.ledger.operations import Operations
from tests.ledger.book import Book, acceptance, ids, verdict

#: Short enough for a test, long enough not to run out between two commands.
LEASE_S = 0.5


def stale(book: Book, consumer: str, eventually: Callable[..., object], most: int = 10) -> list:
    """Wait until leases run out, and take over."""
    return eventually(lambda: book.take_over(consumer, most=most))


def test_a_claim_raises_attempt_and_fence(book: Book) -> None:
    """The attempt number and the fence token are written before anything runs."""
    invocation_id = book.accept()
    claim = book.claim()
    assert (claim.attempt, claim.fence, claim.lost, claim.deaths) == (1, 1, 0, 0)
    record = book.record(invocation_id)
    assert (record.status, record.attempt) == ("running", 1)
    assert record.started_ms is not None


def test_a_success_keeps_result_and_attempt(book: Book) -> None:
    """The result's bytes, its description and the attempt's times are there when it is final."""
    invocation_id = book.accept()
    body = b"\x00\xff" * 2**19
    assert book.finish(book.claim(), body=body) == "succeeded"
    record = book.record(invocation_id)
    assert (record.status, record.is_final, record.error) == ("succeeded", True, None)
    assert record.result is not None
    assert record.result.size == 2**20
    assert book.run(book.edge.result(record)) == body
    (attempt,) = record.attempts
    assert attempt["outcome"] == "succeeded"
    assert attempt["ended_ms"] >= attempt["started_ms"] == record.started_ms
    assert book.redis.xlen(QueueKeys("default").stream) == 0


def test_an_empty_result_is_empty_bytes(book: Book) -> None:
    """A result of no bytes is not a result that is gone."""
    invocation_id = book.accept()
    book.finish(book.claim(), body=b"")
    assert book.run(book.edge.result(book.record(invocation_id))) == b""


def test_a_retry_waits_and_runs_as_the_next_attempt(book: Book, eventually: Callable[..., object]) -> None:
    """Retrying puts it among what waits; promoted, it is claimed as attempt 2 with its history kept."""
    invocation_id = book.accept()
    assert book.finish(book.claim(), "retrying", retry_in_s=0.05) == "retrying"
    record = book.record(invocation_id)
    assert record.status == "retrying"
    assert record.error == {"kind": "raised", "type": "ValueError", "message": "no"}
    assert book.claims() == []
    eventually(lambda: book.worker.promote("default")[0])
    claim = book.claim()
    assert (claim.attempt, claim.fence) == (2, 2)
    book.finish(claim)
    record = book.record(invocation_id)
    assert [attempt["outcome"] for attempt in record.attempts] == ["retrying", "succeeded"]
    assert record.error is None


def test_a_failure_is_a_dead_letter(book: Book) -> None:
    """It stays with input, attempts and error, and is listed."""
    invocation_id = book.accept()
    assert book.finish(book.claim(), "failed") == "failed"
    record = book.record(invocation_id)
    assert (record.status, record.error and record.error["type"]) == ("failed", "ValueError")
    assert book.redis.zrange(QueueKeys("default").dead, 0, -1) == [invocation_id.encode()]
    assert book.redis.hget(QueueKeys("default").record(invocation_id), "event") == b'{"data":1}'


def test_a_cancelled_attempt_is_final(book: Book) -> None:
    """Cancelled is an end like the others, and no dead letter."""
    invocation_id = book.accept()
    assert book.finish(book.claim(), "cancelled") == "cancelled"
    assert book.record(invocation_id).is_final
    assert book.redis.exists(QueueKeys("default").dead) == 0


def test_a_batch_that_breaks_off_has_counted_what_it_finished(book: Book) -> None:
    """Its neighbours come again alone, and are refused as finished: nothing but the first time can count them."""
    book.answers(*(acceptance() for _ in range(3)))
    first, broken, third = book.claims(3)
    book.redis.set(QueueKeys("default").output(broken.id), "no stream")
    verdicts = [verdict(first), verdict(broken, output=[b"{}"]), verdict(third)]
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        book.worker.finish("default", verdicts)
    assert book.redis.hgetall(QueueKeys("default").stats) == {b"thumbnail succeeded": b"1"}
    assert book.redis.xlen(QueueKeys("default").stream) == 2
    assert book.worker.finish("default", [verdicts[0], verdicts[2]]) == ["stale", "succeeded"]
    assert book.redis.hgetall(QueueKeys("default").stats) == {b"thumbnail succeeded": b"2"}


@pytest.mark.parametrize("outcome", ["succeeded", "retrying", "failed", "cancelled"])
def test_a_second_finish_is_refused(book: Book, outcome: str) -> None:
    """An attempt ends in exactly one way."""
    invocation_id = book.accept()
    claim = book.claim()
    book.finish(claim, outcome, retry_in_s=60)
    before = book.record(invocation_id)
    assert book.finish(claim, "failed") == "stale"
    assert book.finish(claim, "succeeded") == "stale"
    assert book.record(invocation_id) == before


def test_three_deaths_of_a_child_fail_an_invocation(book: Book, eventually: Callable[..., object]) -> None:
    """Poison is counted against itself alone, and stops at three however many retries are left."""
    invocation_id = book.accept()
    outcomes = []
    for _ in range(3):
        outcomes.append(book.finish(book.claim(), "retrying", died=True, retry_in_s=0))
        book.worker.promote("default")
    assert outcomes == ["retrying", "retrying", "failed"]
    assert book.record(invocation_id).deaths == 3
    assert book.claims() == []


def test_failures_without_a_death_do_not_poison(book: Book) -> None:
    """A handler that raises is retried for as long as its options say."""
    book.accept()
    for _ in range(4):
        assert book.finish(book.claim(), "retrying", retry_in_s=0) == "retrying"
        book.worker.promote("default")


def test_one_batch_writes_the_outcomes_of_many(book: Book) -> None:
    """Each verdict of a batch is judged by itself."""
    accepted = [book.accept() for _ in range(3)]
    first, second, third = book.claims(3)
    book.finish(second)
    answers = book.worker.finish("default", [verdict(first), verdict(second, "failed"), verdict(third, "failed")])
    assert answers == ["succeeded", "stale", "failed"]
    assert [book.record(each).status for each in accepted] == ["succeeded", "succeeded", "failed"]


def test_a_lost_worker_is_taken_over_after_the_lease(
    redis_url: str, open_book: Callable[..., Book], eventually: Callable[..., object]
) -> None:
    """The attempt counts as lost, the next worker runs it, and the zombie's finish changes nothing."""
    book = open_book(redis_url, lease_s=LEASE_S)
    invocation_id = book.accept()
    zombie = book.claim(consumer="killed")
    assert book.take_over("heir") == []
    (claim,) = stale(book, "heir", eventually)
    assert (claim.id, claim.attempt, claim.fence, claim.lost) == (invocation_id, 2, 2, 1)
    assert book.finish(zombie) == "stale"
    assert not book.worker.append_output(zombie, [b'{"kind":"log"}'])
    assert book.worker.renew("default", "killed", [zombie]) == [(zombie, "stale")]
    record = book.record(invocation_id)
    assert (record.status, record.lost) == ("running", 1)
    assert [(each["outcome"], each["error"]["type"]) for each in record.attempts] == [("lost", "WorkerLost")]
    assert book.finish(claim) == "succeeded"


def test_a_renewed_lease_holds(redis_url: str, open_book: Callable[..., Book]) -> None:
    """Who renews keeps the claim for longer than one lease."""
    book = open_book(redis_url, lease_s=LEASE_S)
    book.accept()
    claim = book.claim(consumer="alive")
    stop = threading.Event()
    for _ in range(8):
        stop.wait(LEASE_S / 4)
        assert book.worker.renew("default", "alive", [claim]) == []
        assert book.take_over("thief") == []
    assert book.finish(claim) == "succeeded"


def test_a_stale_entry_behind_many_leased_ones_is_found(
    redis_url: str, open_book: Callable[..., Book], eventually: Callable[..., object]
) -> None:
    """One free thread finds what a dead worker left, however much others hold in front of it."""
    book = open_book(redis_url, lease_s=LEASE_S)
    book.answers(*(acceptance() for _ in range(60)))
    held = book.claims(60, consumer="busy")
    left = book.accept()
    book.claim(consumer="killed")

    def take_one() -> list:
        assert book.worker.renew("default", "busy", held) == []
        return book.take_over("heir", most=1)

    assert ids(eventually(take_one)) == [left]


def test_a_worker_lost_ten_times_fails_the_invocation(
    redis_url: str, open_book: Callable[..., Book], eventually: Callable[..., object]
) -> None:
    """What takes its host down is not passed on for ever."""
    book = open_book(redis_url, lease_s=0.01)
    invocation_id = book.accept()
    book.claim(consumer="w0")
    for n in range(1, MAX_LOST):
        assert stale(book, f"w{n}", eventually)
    eventually(lambda: book.take_over("last") or book.record(invocation_id).is_final)
    record = book.record(invocation_id)
    assert (record.status, record.lost) == ("failed", MAX_LOST)
    assert record.error is not None
    assert record.error["type"] == "WorkerLost"
    assert book.redis.xlen(QueueKeys("default").stream) == 0


def test_what_was_delivered_but_never_claimed_is_taken_over_unburned(
    redis_url: str, open_book: Callable[..., Book], eventually: Callable[..., object]
) -> None:
    """A worker that dies between delivery and claim costs no attempt."""
    book = open_book(redis_url, lease_s=0.05)
    invocation_id = book.accept()
    book.worker.declare("default")
    assert len(book.worker.deliveries("default", "killed", count=5, block_s=0.05)) == 1
    (claim,) = stale(book, "heir", eventually)
    assert (claim.id, claim.attempt, claim.lost) == (invocation_id, 1, 0)


def test_a_delivery_that_another_worker_took_over_is_left_to_it(
    redis_url: str, open_book: Callable[..., Book], eventually: Callable[..., object]
) -> None:
    """A claim that comes too late is no claim, and does not disturb the one that is held."""
    book = open_book(redis_url, lease_s=0.05)
    book.accept()
    book.worker.declare("default")
    delivered = book.worker.deliveries("default", "slow", count=5, block_s=0.05)
    (claim,) = stale(book, "heir", eventually)
    assert book.worker.claim("default", "slow", delivered) == []
    assert book.finish(claim) == "succeeded"


def test_handing_back_burns_no_attempt(book: Book) -> None:
    """It is queued again, and what the first worker still says is refused."""
    invocation_id = book.accept()
    first = book.claim(consumer="stopping")
    assert book.worker.hand_back("default", [first]) == 1
    assert book.record(invocation_id).status == "queued"
    assert book.finish(first) == "stale"
    assert book.worker.hand_back("default", [first]) == 0
    second = book.claim(consumer="other")
    assert (second.id, second.attempt, second.lost) == (invocation_id, 1, 0)
    assert second.fence > first.fence
    assert book.finish(second) == "succeeded"
    assert len(book.record(invocation_id).attempts) == 1


def test_what_is_said_of_a_cancelled_one(
    redis_url: str, open_book: Callable[..., Book], eventually: Callable[..., object]
) -> None:
    """Whether it waited, was handed back, or lost its worker while it ran, the words are true."""
    book = open_book(redis_url, lease_s=LEASE_S)
    people = Operations(book.edge, lambda _: None)
    waits, handed_back, lost = book.accept(delay_s=60), book.accept(), book.accept()
    claims = book.claims(2)
    for each in (waits, handed_back, lost):
        book.run(people.cancel(each))
    book.worker.hand_back("default", claims[:1])
    eventually(lambda: book.take_over("heir") or book.record(lost).is_final)
    assert {each: book.record(each).error["message"] for each in (waits, handed_back, lost)} == {
        waits: "it was cancelled while it waited to run",
        handed_back: "it was cancelled before it had run to its end",
        lost: "it was cancelled while it ran, and its worker is gone",
    }


def test_fetch_and_claim_in_one_script(book: Book) -> None:
    """Under a backlog a worker reads and claims in a single call, bounded by what it asks for."""
    accepted = [book.accept() for _ in range(5)]
    book.worker.declare("default")
    assert ids(book.worker.claim("default", "one", read=3)) == accepted[:3]
    assert ids(book.worker.claim("default", "one", read=3)) == accepted[3:]
    assert book.worker.claim("default", "one", read=3) == []


def test_a_cancelled_flag_is_told_with_the_renewal(book: Book) -> None:
    """The worker that holds the claim hears of it, and still holds its lease."""
    first, second = book.accept(), book.accept()
    claims = book.claims(2)
    book.redis.hset(QueueKeys("default").record(second), "cancel", "1")
    assert book.worker.renew("default", "one", claims) == [(claims[1], "cancel")]
    assert book.record(first).status == book.record(second).status == "running"


@pytest.mark.parametrize("read_in_script", [True, False])
def test_garbage_in_the_stream_is_parked_with_its_content(book: Book, read_in_script: bool) -> None:
    """What is no invocation is put aside with the reason, and stops nothing behind it."""
    stream = QueueKeys("default").stream
    book.worker.declare("default")
    book.redis.xadd(stream, {"hello": b"\xff\x00"})
    book.redis.xadd(stream, {"id": "default-" + "0" * 26})
    book.redis.xadd(stream, {"id": "x" * 300})
    book.redis.xadd(stream, {"id": b"\xff\xfe"})
    invocation_id = book.accept()
    claims = book.worker.claim("default", "one", read=10) if read_in_script else book.claims(10)
    assert ids(claims) == [invocation_id]
    parked = [fields for _, fields in book.redis.xrange(QueueKeys("default").parked)]
    reasons = [fields[b"reason"] for fields in parked]
    assert reasons == [b"no invocation id", b"no such invocation", b"no invocation id", b"no such invocation"]
    assert b"hello" in parked[0][b"fields"]
    assert book.redis.xlen(stream) == 1
    assert book.redis.xpending(stream, "workers")["pending"] == 1


def test_flushed_data_are_declared_anew(book: Book) -> None:
    """A worker whose stream has vanished goes on with the new one."""
    book.worker.declare("default")
    book.redis.flushall()
    assert book.worker.deliveries("default", "one", count=1, block_s=0.01) == []
    invocation_id = book.accept()
    assert ids(book.claims()) == [invocation_id]


def test_a_consumer_is_forgotten_when_it_holds_nothing(book: Book) -> None:
    """A stopped worker leaves no consumer behind, unless that would lose what it holds."""
    book.accept()
    claim = book.claim(consumer="mine")

    def consumers() -> list[bytes]:
        return [each["name"] for each in book.redis.xinfo_consumers(QueueKeys("default").stream, "workers")]

    book.worker.forget_consumer("default", "mine")
    assert consumers() == [b"mine"]
    book.finish(claim)
    book.worker.forget_dead_consumers("default", idle_s=3600)
    assert consumers() == [b"mine"]
    book.worker.forget_dead_consumers("default", idle_s=-1)
    assert consumers() == []
