"""The RabbitMQ carrier under Dramatiq's Worker, with a real RabbitMQ, the real executor and real children."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika
import pytest
from dramatiq import Message
from dramatiq.errors import QueueNotFound

from infra.rabbitmq_server import RabbitMQServer
from runtime.carriers.rabbitmq import RabbitCarrier
from runtime.ledger.keys import QueueKeys, new_id
from runtime.ledger.ledger import Ledger
from tests.carriers.rabbit import CODE, Rabbit
from tests.carriers.rig import Deployment, Rig

Deploy = Callable[..., Deployment]
Work = Callable[..., Rig]
Eventually = Callable[..., Any]


@pytest.fixture
def rabbit(rabbitmq_server: RabbitMQServer) -> Rabbit:
    """The shared RabbitMQ, emptied for this test."""
    return Rabbit(rabbitmq_server)


def message(**changes: Any) -> bytes:
    """A message as a publisher of ours encodes it."""
    values = {"queue_name": "default", "actor_name": "invoke_default", "args": [], "kwargs": {}, "options": {}}
    return json.dumps({**values, "message_id": "1", "message_timestamp": 0, **changes}).encode()


def parked(deployment: Deployment) -> list[bytes]:
    return [fields[b"reason"] for _, fields in deployment.book.redis.xrange(QueueKeys("default").parked)]


def test_five_hundred_invocations_go_through_rabbitmq(
    redis_url: str, rabbit: Rabbit, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """Each runs once; nothing stays in the outbox, in RabbitMQ, among the leases or in the worker's hands."""
    deployment = deploy(redis_url, CODE)
    rig = work(deployment, amqp=rabbit.url)
    accepted = deployment.accept("double", {"n": 21}, count=500)
    eventually(lambda: len(rig.told) >= 500, 30)
    assert {deployment.result(each) for each in accepted} == {42}
    assert {(record.attempt, record.lost) for record in map(deployment.book.record, accepted)} == {(1, 0)}
    keys = QueueKeys("default")
    eventually(lambda: deployment.book.redis.xlen(keys.stream) == 0 and rabbit.messages() == 0)
    assert not deployment.book.redis.exists(keys.leases)
    assert not deployment.book.redis.exists(keys.parked)
    assert rig.held() == 0


def test_retries_and_delays_wait_in_the_ledger(
    redis_url: str, rabbit: Rabbit, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """RabbitMQ has no queues for them; what is due is published."""
    deployment = deploy(redis_url, CODE)
    work(deployment, queues=("default", "media"), amqp=rabbit.url)
    (retried,) = deployment.accept("flaky", queue="media")
    (later,) = deployment.accept("double", {"n": 1}, delay_s=0.3)
    eventually(lambda: deployment.all_are("succeeded", [retried, later]))
    assert deployment.result(retried) == 3
    record = deployment.book.record(later)
    assert record.started_ms is not None
    assert record.started_ms >= record.due_ms
    names = rabbit.server.evaluate("[element(4, amqqueue:get_name(Q)) || Q <- rabbit_amqqueue:list()]")
    # Other tests of this server may have left queues of their own.
    ours = [name for name in json.loads(names.replace("<<", "").replace(">>", "")) if "oncue" in name or "default" in name]
    assert sorted(ours) == ["oncue.default", "oncue.media"]


def test_strange_messages_are_parked_and_their_neighbours_run(
    redis_url: str, rabbit: Rabbit, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """Whatever is put into the queue by hand: it is acknowledged, kept for people with the reason, and harms nobody."""
    deployment = deploy(redis_url, CODE)
    work(deployment, amqp=rabbit.url)
    first = deployment.accept("double", {"n": 1}, count=20)
    eventually(lambda: deployment.all_are("succeeded", first))
    unknown = new_id("default")
    rabbit.put(
        b"\xff\xfe garbage",
        b"[" * 3000,
        b"x" * 2**20,
        b"{}",
        message(actor_name="send_money", args=[unknown]),
        message(args=[]),
        message(args=["a", "b"]),
        message(args=[7]),
        message(args=["media-01hxxxxxxxxxxxxxxxxxxxxxxx"]),
        message(args=[unknown]),
    )
    more = deployment.accept("double", {"n": 1}, count=20)
    eventually(lambda: deployment.all_are("succeeded", more))
    eventually(lambda: len(parked(deployment)) == 10)
    eventually(lambda: rabbit.messages() == 0)
    reasons = b"\n".join(parked(deployment))
    for part in (
        b"1048576 bytes are no message",
        b"no message of Dramatiq's",
        b"no actor 'send_money' here",
        b"no invocation id of this queue",
        b"no such invocation",
    ):
        assert part in reasons
    assert {deployment.book.record(each).lost for each in [*first, *more]} == {0}
    entries = deployment.book.redis.xrange(QueueKeys("default").parked)
    assert max(len(fields[b"fields"]) for _, fields in entries) < 2000


def test_garbage_in_the_outbox_is_parked(
    redis_url: str, rabbit: Rabbit, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """It never reaches RabbitMQ, and what comes after it does."""
    deployment = deploy(redis_url, CODE)
    deployment.book.redis.xadd(QueueKeys("default").stream, {"not": "ours"})
    deployment.book.redis.xadd(QueueKeys("default").stream, {"id": "media-01hxxxxxxxxxxxxxxxxxxxxxxx"})
    work(deployment, amqp=rabbit.url)
    (accepted,) = deployment.accept("double", {"n": 1})
    eventually(lambda: deployment.book.record(accepted).is_final)
    assert parked(deployment) == [b"no invocation id"] * 2
    eventually(lambda: deployment.book.redis.xlen(QueueKeys("default").stream) == 0)


def test_a_message_published_many_times_runs_once(
    redis_url: str, rabbit: Rabbit, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """While its invocation runs, and when it is over."""
    deployment = deploy(redis_url, CODE)
    work(deployment, amqp=rabbit.url)
    (accepted,) = deployment.accept("mark", {"path": str(tmp_path / "marks"), "seconds": 0.5})
    eventually(lambda: deployment.book.record(accepted).status == "running")
    again = [message(args=[accepted])] * 20
    rabbit.put(*again)
    eventually(lambda: deployment.book.record(accepted).is_final)
    rabbit.put(*again)
    eventually(lambda: rabbit.messages() == 0)
    assert (tmp_path / "marks").read_text().splitlines() == [accepted]
    assert deployment.book.record(accepted).attempt == 1
    assert parked(deployment) == []


def test_a_running_handler_holds_no_message(
    redis_url: str, rabbit: Rabbit, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """It is acknowledged once it is claimed: neither RabbitMQ's consumer timeout nor a lost connection touches the run."""
    deployment = deploy(redis_url, CODE, lease_s=0.5)
    work(deployment, amqp=rabbit.url)
    (accepted,) = deployment.accept("mark", {"path": str(tmp_path / "marks"), "seconds": 1.5})
    eventually(lambda: deployment.book.record(accepted).status == "running")
    eventually(lambda: rabbit.messages() == 0)
    assert rabbit.server.close_connections() >= 2
    eventually(lambda: deployment.book.record(accepted).is_final)
    assert (tmp_path / "marks").read_text().splitlines() == [accepted]
    assert (deployment.book.record(accepted).status, deployment.book.record(accepted).lost) == ("succeeded", 0)


def test_behind_a_slow_handler_nothing_waits_that_another_worker_could_run(
    redis_url: str, rabbit: Rabbit, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """A busy worker gives back what RabbitMQ has sent it."""
    deployment = deploy(redis_url, CODE)
    busy = work(deployment, consumer="busy", threads=1, amqp=rabbit.url)
    fast = deployment.accept("double", {"n": 1}, count=100)  # so that it fetches ahead
    eventually(lambda: deployment.all_are("succeeded", fast))
    slow = deployment.accept("wait_for", {"path": str(tmp_path / "go")}, count=1)
    eventually(lambda: deployment.all_are("running", slow))
    waiting = deployment.accept("double", {"n": 1}, count=200)
    work(deployment, consumer="free", amqp=rabbit.url)
    eventually(lambda: deployment.statuses(waiting).count("succeeded") >= 200 - busy.held() + 1, 20)
    (tmp_path / "go").touch()
    eventually(lambda: deployment.all_are("succeeded", [*slow, *waiting]))


def test_a_stopping_worker_hands_its_claims_to_another(
    redis_url: str, rabbit: Rabbit, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """What runs may finish; the rest runs elsewhere without a burnt attempt; no thread of the carrier is left."""
    deployment = deploy(redis_url, CODE)
    rig = work(deployment, threads=2, amqp=rabbit.url)
    fast = deployment.accept("double", {"n": 1}, count=200)
    eventually(lambda: deployment.all_are("succeeded", fast))
    slow = deployment.accept("wait_for", {"path": str(tmp_path / "go")}, count=8)
    eventually(lambda: deployment.statuses(slow).count("running") > 2)
    stopper = threading.Thread(target=rig.stop)
    stopper.start()
    eventually(lambda: deployment.statuses(slow).count("queued") == 6)
    (tmp_path / "go").touch()
    stopper.join(20)
    assert not stopper.is_alive()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("publisher-")]
    assert deployment.statuses(slow).count("succeeded") == 2
    work(deployment, consumer="next", amqp=rabbit.url)
    eventually(lambda: deployment.all_are("succeeded", slow))
    assert {(record.attempt, record.lost) for record in map(deployment.book.record, slow)} == {(1, 0)}


def test_a_deleted_queue_is_declared_anew(
    redis_url: str, rabbit: Rabbit, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """What is published meanwhile comes back as unroutable, and is sent again."""
    deployment = deploy(redis_url, CODE)
    work(deployment, amqp=rabbit.url)
    (first,) = deployment.accept("double", {"n": 1})
    eventually(lambda: deployment.book.record(first).is_final)
    rabbit.empty()
    accepted = deployment.accept("double", {"n": 2}, count=50)
    eventually(lambda: deployment.all_are("succeeded", accepted))


def test_a_queue_of_another_kind_is_waited_out(
    redis_url: str, rabbit: Rabbit, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """RabbitMQ refuses to declare ours over it; once it is gone, everything runs."""
    deployment = deploy(redis_url, CODE)
    with rabbit.channel() as channel:
        channel.queue_declare("oncue.default", durable=True)
    accepted = deployment.accept("double", {"n": 2}, count=5)
    rig = work(deployment, amqp=rabbit.url)
    with rabbit.channel() as channel, pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.queue_declare("oncue.default", durable=True, arguments={"x-queue-type": "quorum"})
    assert rig.told == []
    rabbit.empty()
    eventually(lambda: deployment.all_are("succeeded", accepted))


def test_a_cancelled_invocation_is_dropped_from_rabbitmq(
    redis_url: str, rabbit: Rabbit, tmp_path: Path, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """Before it runs: its message finds it cancelled. While it runs: the next renewal of its lease tells."""
    deployment = deploy(redis_url, CODE, lease_s=0.5)
    work(deployment, threads=1, amqp=rabbit.url)
    (runs,) = deployment.accept("wait_for", {"path": str(tmp_path / "never")})
    eventually(lambda: deployment.book.record(runs).status == "running")
    (waits,) = deployment.accept("mark", {"path": str(tmp_path / "marks")})
    for each in (waits, runs):
        deployment.book.run(deployment.book.edge.reads.run("cancel", QueueKeys("default").base, each, 1000))
    eventually(lambda: deployment.book.record(runs).status == "cancelled")
    eventually(lambda: rabbit.messages() == 0)
    assert not (tmp_path / "marks").exists()


def test_the_rabbitmq_carrier_takes_no_messages_of_its_own(redis_url: str, rabbit: Rabbit) -> None:
    """Work enters through accept alone, an undeclared queue has no consumer, and no middleware changes state."""
    ledger = Ledger(redis_url)
    broker = RabbitCarrier(ledger, "one", threads=1, url=rabbit.url)
    with pytest.raises(NotImplementedError, match="enter through the ledger's accept"):
        broker.enqueue(Message("q", "a", (), {}, {}))
    with pytest.raises(QueueNotFound):
        broker.consume("unknown")
    assert broker.middleware == []
    broker.close()
    ledger.close()


def test_an_idle_rabbitmq_worker_does_not_poll(
    redis_url: str, rabbit: Rabbit, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """Silence costs a few commands a second."""
    deployment = deploy(redis_url, CODE)
    work(deployment, amqp=rabbit.url)
    (warm,) = deployment.accept("double", {"n": 1})
    eventually(lambda: deployment.book.record(warm).is_final)
    before, started = deployment.book.redis.info("stats")["total_commands_processed"], time.monotonic()
    threading.Event().wait(1.0)
    after, elapsed = deployment.book.redis.info("stats")["total_commands_processed"], time.monotonic() - started
    assert (after - before) / elapsed < 60
