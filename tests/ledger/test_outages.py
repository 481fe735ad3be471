"""The server runs out of memory, forgets its scripts, is killed, and comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
import redis

from infra.embedded import EmbeddedServer
from runtime.ledger.committer import Committer
from runtime.ledger.keys import QUEUES, QueueKeys
from runtime.ledger.records import Verdict
from runtime.ledger.wire import LedgerUnavailableError, describe
from tests.ledger.book import Book, acceptance, ids, verdict


def starve(book: Book) -> None:
    book.redis.config_set("maxmemory", 1)


def feed(book: Book) -> None:
    book.redis.config_set("maxmemory", 0)


def test_a_full_server_refuses_and_then_works_again(own_server: EmbeddedServer, open_book: Callable[..., Book]) -> None:
    """Every write says unavailable and writes nothing; reads go on; with memory back, all goes through."""
    book = open_book(own_server.url)
    first, second = book.accept(), book.accept(delay_s=0.001)
    claim = book.claim()
    starve(book)
    for write in (
        lambda: book.accept(),
        lambda: book.finish(claim),
        lambda: book.finish(claim, "retrying"),
        lambda: book.worker.hand_back("default", [claim]),
        lambda: book.worker.append_output(claim, [b"{}"]),
    ):
        with pytest.raises(LedgerUnavailableError, match="refuses to write"):
            write()
    assert book.record(first).status == "running"
    assert book.worker.renew("default", "one", [claim]) == []
    feed(book)
    assert book.finish(claim) == "succeeded"
    book.worker.promote("default")
    assert ids(book.claims()) == [second]
    assert len(book.all_ids()) == 2


def test_a_queue_first_met_by_a_full_server_is_listed_afterwards(
    own_server: EmbeddedServer, open_book: Callable[..., Book]
) -> None:
    """The name of a new queue is not lost with the first refusal."""
    book = open_book(own_server.url)
    starve(book)
    with pytest.raises(LedgerUnavailableError):
        book.accept(queue="media")
    feed(book)
    invocation_id = book.accept(queue="media")
    assert book.redis.smembers(QUEUES) == {b"media"}
    assert book.all_ids() == [invocation_id]


def test_forgotten_scripts_are_loaded_again(book: Book) -> None:
    """SCRIPT FLUSH costs a round trip and nothing else."""
    invocation_id = book.accept()
    book.redis.script_flush()
    other = book.accept()
    book.redis.script_flush()
    first, second = book.claims(2)
    book.redis.script_flush()
    assert book.run(book.edge.watch(first.id)) == "running"
    book.redis.script_flush()
    assert book.worker.finish("default", [verdict(first), verdict(second)]) == ["succeeded", "succeeded"]
    assert {invocation_id, other} == {first.id, second.id}


def test_a_killed_server_has_kept_what_it_answered(own_server: EmbeddedServer, open_book: Callable[..., Book]) -> None:
    """kill -9 right after the answers: every accepted, claimed and finished invocation is there, in its state."""
    book = open_book(own_server.url, lease_s=0.05)
    accepted = [answer.id for answer in book.answers(*(acceptance() for _ in range(300)))]
    done, held = book.claims(2)
    book.finish(done, body=b'"kept"')
    waiting = book.accept(delay_s=3600)
    own_server.kill()
    with pytest.raises(LedgerUnavailableError, match="Redis is away"):
        book.accept()
    with pytest.raises(LedgerUnavailableError, match="Redis is away"):
        book.run(book.edge.get(accepted[0]))
    with pytest.raises(LedgerUnavailableError, match="Redis is away"):
        book.finish(held)
    own_server.start()
    assert sorted(book.all_ids(limit=100)) == sorted([*accepted, waiting])
    assert book.run(book.edge.result(book.record(done.id))) == b'"kept"'
    assert book.record(waiting).status == "scheduled"
    assert book.finish(held) == "succeeded"
    assert sorted(ids(book.claims(400))) == sorted(set(accepted) - {done.id, held.id})


def test_an_idle_connection_that_died_unseen_costs_nothing(own_server: EmbeddedServer, open_book: Callable[..., Book]) -> None:
    """After a restart between two acceptances the second one is accepted, once."""
    book = open_book(own_server.url)
    first = book.accept()
    own_server.kill()
    own_server.start()
    second = book.accept()
    assert book.record(first).status == "queued"
    assert ids(book.claims(5)) == [first, second]


def test_outcomes_are_held_until_the_server_is_back(own_server: EmbeddedServer, open_book: Callable[..., Book]) -> None:
    """A handler's outcome survives an outage at its end."""
    book = open_book(own_server.url)
    accepted = [book.accept() for _ in range(20)]
    claims = book.claims(20)
    told: list[str] = []
    committer = Committer(book.worker, lambda _, outcomes: told.extend(outcomes))
    committer.start()
    own_server.kill()
    for claim in claims:
        committer.commit(verdict(claim))
    assert not committer.flush(0.2)
    own_server.start()
    assert committer.flush(10)
    assert told == ["succeeded"] * 20
    assert {book.record(each).status for each in accepted} == {"succeeded"}
    assert committer.close()


def test_a_committer_that_closes_does_not_wait_for_ever(own_server: EmbeddedServer, open_book: Callable[..., Book]) -> None:
    """With the server away for good it gives up after its time, and says so."""
    book = open_book(own_server.url)
    book.accept()
    claim = book.claim()
    committer = Committer(book.worker, lambda *_: None)
    committer.start()
    own_server.kill()
    committer.commit(verdict(claim))
    assert not committer.close(0.2)
    committer._thread.join(5)
    assert not committer._thread.is_alive()


def test_outcomes_of_many_threads_share_script_calls(book: Book) -> None:
    """Group commit: hundreds of verdicts take far fewer writes."""
    book.answers(*(acceptance() for _ in range(400)))
    claims = book.claims(400)
    committer = Committer(book.worker, lambda *_: None)
    committer.start()
    before = book.script_calls()
    threads = [
        threading.Thread(target=lambda mine=claims[n::4]: [committer.commit(verdict(claim)) for claim in mine])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert committer.close()
    assert book.script_calls() - before < 200
    assert book.all_ids(status="queued") == []


@pytest.mark.parametrize(
    "broken", [{"retry_in_s": 1e300}, {"result_ttl_s": 1e300}, {"outcome": "retrying", "retry_in_s": float("inf")}]
)
def test_an_outcome_that_cannot_be_written_stops_no_other(book: Book, broken: dict) -> None:
    """The committer's thread goes on, and tells of the broken one as not written."""
    book.answers(*(acceptance() for _ in range(3)))
    claims = book.claims(3)
    told: list[tuple[str, str]] = []

    def written(verdicts: Sequence[Verdict], outcomes: Sequence[str]) -> None:
        told.extend(zip([each.claim.id for each in verdicts], outcomes, strict=True))

    committer = Committer(book.worker, written)
    for claim, more in zip(claims, ({}, broken, {}), strict=True):
        committer.commit(verdict(claim, **more))
    committer.start()
    assert committer.close()
    assert [(claim.id, outcome) for claim, outcome in zip(claims, ("succeeded", "stale", "succeeded"), strict=True)] == told


def test_large_outcomes_are_not_written_all_at_once(book: Book) -> None:
    """Redis serves nobody else meanwhile: what many threads held during an outage goes out in several calls."""
    book.answers(*(acceptance() for _ in range(17)))
    committer = Committer(book.worker, lambda *_: None)
    one, *claims = book.claims(17)
    book.finish(one)  # the script is loaded
    for claim in claims:
        committer.commit(verdict(claim, body=b"x" * 2**20))
    before = book.script_calls()
    committer.start()
    assert committer.close(30)
    assert book.script_calls() - before == 2
    assert len(book.page(status="succeeded")[0]) == 17


def test_a_listener_that_fails_does_not_stop_the_committer(book: Book) -> None:
    """What is told of an outcome may fail; the next outcome is written all the same."""
    book.answers(*(acceptance() for _ in range(2)))
    first, second = book.claims(2)
    calls: list[int] = []

    def written(verdicts: Sequence[Verdict], outcomes: Sequence[str]) -> None:
        calls.append(len(verdicts))
        raise BrokenPipeError

    committer = Committer(book.worker, written)
    committer.start()
    committer.commit(verdict(first))
    assert committer.flush(5)
    committer.commit(verdict(second))
    assert committer.close(5)
    assert len(calls) == 2
    assert book.record(second.id).status == "succeeded"


def test_a_url_is_described_without_its_password() -> None:
    """No secret reaches a log line."""
    assert describe("rediss://user:hunter2@redis.example:6380/1") == "rediss://redis.example:6380/1"


def test_a_wrong_type_is_a_defect_not_an_outage(book: Book) -> None:
    """Only "not now" is told as unavailable; anything else comes up as what it is."""
    book.redis.set(QueueKeys("default").stream, "no stream")
    with pytest.raises(redis.ResponseError):
        book.accept()
