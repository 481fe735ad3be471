"""A cancel that meets its invocation between the claim and the start, and the channels over which workers hear of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import redis

from runtime.carriers.orders import Orders
from runtime.carriers.redis_streams import LeaseKeeper, RedisStreamsBroker
from runtime.ledger.keys import QueueKeys
from runtime.ledger.operations import Operations
from runtime.ledger.records import Claim
from tests.carriers.rig import Deployment

Eventually = Callable[..., object]

CODE = """
@function
def never() -> None:
    raise RuntimeError
"""


@pytest.fixture
def deployment(redis_url: str, deploy: Callable[..., Deployment]) -> Deployment:
    return deploy(redis_url, CODE, lease_s=0.5)


@pytest.fixture
def held(deployment: Deployment) -> Iterator[tuple[RedisStreamsBroker, Claim]]:
    """A carrier that holds one claim, which has not started."""
    broker = RedisStreamsBroker(deployment.book.worker, "one", threads=2)
    broker.declare_queue("default")
    consumer = broker.consume("default", timeout=1000)
    deployment.accept("never")
    message = next(consumer)
    assert message is not None
    yield broker, message.args[0]
    broker.stop_intake()


def cancel(deployment: Deployment, invocation_id: str) -> None:
    people = Operations(deployment.book.edge, lambda _: None)
    assert deployment.book.run(people.cancel(invocation_id)) == "running"


def test_an_order_to_cancel_what_has_not_started(deployment: Deployment, held: tuple[RedisStreamsBroker, Claim]) -> None:
    """It is cancelled at once, without an attempt, and the thread that gets it later does not start it."""
    broker, claim = held
    cancel(deployment, claim.id)
    assert broker.withdraw(claim.id)
    record = deployment.book.record(claim.id)
    assert (record.status, record.attempt) == ("cancelled", 0)
    assert not broker.holdings("default").start(claim)
    assert not broker.withdraw(claim.id)
    assert not broker.withdraw("no id")
    assert deployment.book.redis.xlen(QueueKeys("default").stream) == 0


def test_a_missed_order_is_found_at_the_renewal(
    deployment: Deployment, held: tuple[RedisStreamsBroker, Claim], eventually: Eventually
) -> None:
    """What has not started is cancelled; only what runs is let go of."""
    broker, claim = held
    let_go: list[Claim] = []
    leases = LeaseKeeper(broker, lambda claim, _: let_go.append(claim))
    leases.start()
    cancel(deployment, claim.id)
    eventually(lambda: deployment.book.record(claim.id).status == "cancelled")
    leases.close()
    assert let_go == []


def test_rubbish_among_the_orders(redis_url: str, eventually: Eventually) -> None:
    """What somebody publishes by hand ends neither the listener's thread nor the orders behind it."""
    told: list[str] = []

    def note(order: str) -> None:
        told.append(order)
        if order == "raises":
            raise RuntimeError(order)

    orders = Orders(redis_url, note)
    orders.start()
    channel = "oncue:{default}:orders"
    with redis.Redis.from_url(redis_url) as connection:
        eventually(lambda: connection.pubsub_numpat() == 1)
        for order in (b"\xff", b"raises"):
            connection.publish(channel, order)
        eventually(lambda: "raises" in told)
        eventually(lambda: connection.publish(channel, "after") and "after" in told)
    orders.close()
    for thread in threading.enumerate():
        if thread.name == "orders":
            thread.join(5)
