"""The Redis carrier under Dramatiq's Worker, with the real executor and real children."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dramatiq import Message
from dramatiq.errors import QueueNotFound

from infra.embedded import EmbeddedServer
from runtime.carriers.redis_streams import RedisStreamsBroker
from runtime.ledger.keys import QueueKeys
from runtime.ledger.ledger import Ledger
from runtime.ledger.wire import LedgerUnavailableError
from tests.carriers.rig import Deployment, Rig

Deploy = Callable[..., Deployment]
Work = Callable[..., Rig]
Eventually = Callable[..., object]

CODE = """
@function
def double(n: int) -> int:
    return n * 2

@function(retries=0)
def mark(path: str, seconds: float = 0.0, ctx: Context = None) -> str:
    with open(path, "a") as file:
        file.write(f"start {ctx.attempt}\\n")
    time.sleep(seconds)
    with open(path, "a") as file:
        file.write(f"end {ctx.attempt}\\n")
    return "done"

@function(queue="media", backoff_min=0.01, retries=2)
def flaky(ctx: Context) -> int:
    if ctx.attempt < 3:
        raise Retry("not yet", after=0.01)
    return ctx.attempt

@function
def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.005)
    return "seen"
""".replace("ctx: Context = None", "*, ctx: Context")


def test_five_hundred_invocations_all_succeed(redis_url: str, deploy: Deploy, work: Work, eventually: Eventually) -> None:
    """Each runs once, and nothing stays in the stream or in the worker's hands."""
    deployment = deploy(redis_url, CODE)
    accepted = deployment.accept("double", {"n": 21}, count=500)
    rig = work(deployment)
    eventually(lambda: len(rig.told) >= 500, 30)
    assert {deployment.result(each) for each in accepted} == {42}
    records = [deployment.book.record(each) for each in accepted]
    assert {(record.status, record.attempt, record.lost) for record in records} == {("succeeded", 1, 0)}
    assert deployment.book.redis.xlen(QueueKeys("default").stream) == 0
    assert rig.held() == 0
    assert rig.pools.get(deployment.version).size <= 4


def test_a_retry_comes_back_when_it_is_due(redis_url: str, deploy: Deploy, work: Work, eventually: Eventually) -> None:
    """Delays wait in the ledger, and the promoter of the queue brings them."""
    deployment = deploy(redis_url, CODE)
    work(deployment, queues=("default", "media"))
    (accepted,) = deployment.accept("flaky", queue="media")
    (later,) = deployment.accept("double", {"n": 1}, delay_s=0.3)
    eventually(lambda: deployment.book.record(accepted).is_final)
    assert deployment.result(accepted) == 3
    assert [each["outcome"] for each in deployment.book.record(accepted).attempts] == ["retrying", "retrying", "succeeded"]
    eventually(lambda: deployment.book.record(later).is_final)
    record = deployment.book.record(later)
    assert record.started_ms is not None
    assert record.started_ms >= record.due_ms


def test_a_queue_that_comes_later_is_carried_by_a_running_worker(
    redis_url: str, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """A deploy may bring a queue; no restart is needed."""
    deployment = deploy(redis_url, CODE)
    rig = work(deployment)
    (first,) = deployment.accept("double", {"n": 1})
    eventually(lambda: deployment.book.record(first).is_final)
    (second,) = deployment.accept("double", {"n": 2}, queue="late_queue")
    rig.carry("late_queue")
    rig.broker.declare_queue("late_queue")  # again changes nothing
    eventually(lambda: deployment.book.record(second).is_final)
    assert deployment.result(second) == 4


def test_a_handler_longer_than_the_lease_runs_once(
    redis_url: str, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """Its lease is renewed while it runs, with another worker waiting to take over."""
    deployment = deploy(redis_url, CODE, lease_s=0.4)
    work(deployment, consumer="one", threads=2)
    work(deployment, consumer="two", threads=2)
    accepted = deployment.accept("mark", {"path": str(tmp_path / "marks"), "seconds": 1.3})
    eventually(lambda: deployment.all_are("succeeded", accepted))
    assert (tmp_path / "marks").read_text().splitlines() == ["start 1", "end 1"]
    assert deployment.book.record(accepted[0]).lost == 0


def test_a_stopping_worker_hands_back_what_has_not_started(
    redis_url: str, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """What runs may finish; the rest goes to another worker without burning an attempt."""
    deployment = deploy(redis_url, CODE)
    fast = deployment.accept("double", {"n": 1}, count=200)
    rig = work(deployment, threads=2)
    eventually(lambda: deployment.all_are("succeeded", fast))
    # the handlers were fast, so many of these are fetched ahead
    slow = deployment.accept("wait_for", {"path": str(tmp_path / "go")}, count=8)
    eventually(lambda: sum(status == "running" for status in deployment.statuses(slow)) > 2)
    stopper = threading.Thread(target=rig.stop)
    stopper.start()
    eventually(lambda: sum(status == "queued" for status in deployment.statuses(slow)) >= 6)
    late = deployment.accept("double", {"n": 5}, count=3)
    (tmp_path / "go").write_text("")
    stopper.join(10)
    assert not stopper.is_alive()
    assert rig.held() == 0
    statuses = deployment.statuses(slow)
    # two threads; one of them may not have got its first claim before the stop
    assert statuses.count("succeeded") in (1, 2)
    assert statuses.count("queued") == 8 - statuses.count("succeeded")
    assert deployment.all_are("queued", late)
    work(deployment, consumer="next")
    eventually(lambda: deployment.all_are("succeeded", [*slow, *late]))
    assert {(record.attempt, record.lost) for record in map(deployment.book.record, [*slow, *late])} == {(1, 0)}


def test_slow_handlers_after_fast_ones(
    redis_url: str, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """What was fetched ahead for fast handlers goes back when slow ones hold the threads; no attempt is burnt."""
    deployment = deploy(redis_url, CODE)
    fast = deployment.accept("double", {"n": 1}, count=200)
    work(deployment, threads=2)
    eventually(lambda: deployment.all_are("succeeded", fast))
    slow = deployment.accept("wait_for", {"path": str(tmp_path / "go")}, count=8)
    eventually(lambda: sum(status == "running" for status in deployment.statuses(slow)) > 2)
    eventually(lambda: sorted(deployment.statuses(slow)) == ["queued"] * 6 + ["running"] * 2)
    (tmp_path / "go").write_text("")
    eventually(lambda: deployment.all_are("succeeded", slow))
    assert {(record.attempt, record.lost) for record in map(deployment.book.record, slow)} == {(1, 0)}


def test_what_arrives_while_a_worker_stops_goes_back(redis_url: str, deploy: Deploy) -> None:
    """A fetch that was waiting when the intake stopped hands its claims straight back."""
    deployment = deploy(redis_url, CODE)
    broker = RedisStreamsBroker(deployment.book.worker, "stopping", threads=2)
    broker.declare_queue("default")
    consumer = broker.consume("default", timeout=2000)
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.append(next(consumer)))
    reader.start()
    while not deployment.book.redis.exists(QueueKeys("default").stream) or not deployment.book.redis.xinfo_consumers(
        QueueKeys("default").stream, "workers"
    ):
        pass
    broker.stop_intake()
    (accepted,) = deployment.accept("double", {"n": 1})
    reader.join(5)
    assert found == [None]
    record = deployment.book.record(accepted)
    assert (record.status, record.attempt) == ("queued", 0)
    assert deployment.book.redis.xpending(QueueKeys("default").stream, "workers")["pending"] == 0


def test_a_lost_worker_is_replaced_by_another(
    redis_url: str, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """What a vanished worker held runs elsewhere after its lease, under load too."""
    deployment = deploy(redis_url, CODE, lease_s=0.5)
    accepted = deployment.accept("double", {"n": 1}, count=6)
    assert len(deployment.book.claims(6, consumer="killed")) == 6
    more = deployment.accept("double", {"n": 1}, count=200)
    work(deployment)
    eventually(lambda: deployment.all_are("succeeded", [*accepted, *more]))
    assert {deployment.book.record(each).lost for each in accepted} == {1}
    assert {deployment.book.record(each).lost for each in more} == {0}


def test_a_restart_of_the_server_during_work_loses_nothing(
    own_server: EmbeddedServer, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """Killed in the middle: every invocation is finished in the end, and every thread still works."""
    deployment = deploy(own_server.url, CODE, lease_s=1.0)
    accepted = deployment.accept("double", {"n": 4}, count=600)
    rig = work(deployment)
    eventually(lambda: len(rig.told) > 50)
    own_server.kill()
    with pytest.raises(LedgerUnavailableError):
        deployment.book.worker.promote("default")
    own_server.start()
    eventually(lambda: deployment.all_are("succeeded", accepted), 30)
    assert {deployment.result(each) for each in accepted} == {8}
    assert deployment.book.redis.xlen(QueueKeys("default").stream) == 0
    eventually(lambda: rig.held() == 0)
    (later,) = deployment.accept("double", {"n": 5}, delay_s=0.05)
    eventually(lambda: deployment.book.record(later).is_final)
    assert all(thread.is_alive() for thread in rig.threads())


def test_a_worker_that_slept_through_its_lease_recovers(
    redis_url: str, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """It takes its own claim over, as after a suspended machine: the first attempt is ended, the second one counts."""
    deployment = deploy(redis_url, CODE, lease_s=0.5)
    rig = work(deployment, threads=2)
    rig.leases.close()  # nobody renews
    (accepted,) = deployment.accept("wait_for", {"path": str(tmp_path / "go")})
    eventually(lambda: deployment.book.record(accepted).lost >= 1)
    rig.leases = type(rig.leases)(rig.broker, rig.executor.let_go)
    rig.leases.start()
    eventually(lambda: ("cancelled", "stale") in [(verdict.outcome, outcome) for verdict, outcome in rig.told])
    (tmp_path / "go").write_text("")
    eventually(lambda: deployment.book.record(accepted).is_final)
    record = deployment.book.record(accepted)
    assert record.status == "succeeded"
    assert {each["outcome"] for each in record.attempts[:-1]} == {"lost"}
    eventually(lambda: rig.held() == 0)


def test_a_cancelled_invocation_is_ended_in_its_child(
    redis_url: str, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """The flag reaches the worker with the next renewal, and the child is ended."""
    deployment = deploy(redis_url, CODE, lease_s=0.5)
    work(deployment)
    (accepted,) = deployment.accept("wait_for", {"path": str(tmp_path / "never")})
    eventually(lambda: deployment.book.record(accepted).status == "running")
    deployment.book.redis.hset(QueueKeys("default").record(accepted), "cancel", "1")
    eventually(lambda: deployment.book.record(accepted).is_final)
    assert deployment.book.record(accepted).status == "cancelled"


def test_two_workers_share_a_queue(redis_url: str, deploy: Deploy, work: Work, eventually: Eventually) -> None:
    """Each invocation goes to one of them."""
    deployment = deploy(redis_url, CODE)
    one, two = work(deployment, consumer="one", threads=2), work(deployment, consumer="two", threads=2)
    accepted = deployment.accept("double", {"n": 1}, count=300)
    eventually(lambda: len(one.told) + len(two.told) >= 300)
    assert deployment.all_are("succeeded", accepted)
    assert {verdict.claim.id for verdict, _ in one.told}.isdisjoint({verdict.claim.id for verdict, _ in two.told})
    assert one.told
    assert two.told


def test_a_takeover_that_fails_keeps_nothing_else_from_running(redis_url: str, deploy: Deploy, eventually: Eventually) -> None:
    """What was claimed before it in one fetch goes to the threads all the same: it is leased, and nobody else would run it."""
    deployment = deploy(redis_url, CODE, lease_s=0.2)
    book, keys = deployment.book, QueueKeys("default")
    book.worker.declare("default")
    book.redis.xadd(keys.stream, {"not": "ours"})
    book.worker.deliveries("default", "lost worker", count=1, block_s=0.05)
    book.redis.set(keys.parked, "no stream")
    eventually(lambda: book.redis.xpending_range(keys.stream, "workers", "-", "+", 1, idle=200))
    (accepted,) = deployment.accept("double", {"n": 1})
    ledger = Ledger(redis_url, lease_s=0.2)
    broker = RedisStreamsBroker(ledger, "one", threads=4)
    broker.declare_queue("default")
    message = next(broker.consume("default", timeout=100))
    assert message is not None
    assert message.message_id == accepted
    ledger.close()


def test_the_broker_takes_no_messages_of_its_own(redis_url: str) -> None:
    """Work enters through accept alone, and an undeclared queue has no consumer."""
    ledger = Ledger(redis_url)
    broker = RedisStreamsBroker(ledger, "one", threads=1)
    with pytest.raises(NotImplementedError, match="enter through the ledger's accept"):
        broker.enqueue(Message("q", "a", (), {}, {}))
    with pytest.raises(QueueNotFound):
        broker.consume("unknown")
    assert broker.middleware == []
    ledger.close()


def test_an_idle_worker_does_not_poll(redis_url: str, deploy: Deploy, work: Work, eventually: Eventually) -> None:
    """An invocation starts within milliseconds of its acceptance, and silence costs a few commands a second."""
    deployment = deploy(redis_url, CODE)
    work(deployment)
    (warm,) = deployment.accept("double", {"n": 1})
    eventually(lambda: deployment.book.record(warm).is_final)
    before = deployment.book.redis.info("stats")["total_commands_processed"]
    silence = threading.Event()
    started = time.monotonic()
    silence.wait(0.5)
    elapsed = time.monotonic() - started
    assert (deployment.book.redis.info("stats")["total_commands_processed"] - before) / elapsed < 60
