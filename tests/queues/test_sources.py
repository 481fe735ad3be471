"""What holds for every source that keeps messages: RabbitMQ, Redis Streams and Kafka, on real servers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import pytest

from infra.rabbitmq_server import RabbitMQServer
from runtime.authoring.triggers import EventTrigger
from runtime.carriers.rabbitmq import RabbitCarrier
from runtime.carriers.relay import Relay
from runtime.ledger.keys import EVENTS
from tests.carriers.rabbit import Rabbit
from tests.queues.carriers import Carrier, numbered
from tests.queues.redelivery import killed, settled
from tests.queues.rig import OwnLedger, Queues

Eventually = Callable[..., object]


def test_a_message_and_its_event(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """The event tells source, type, data and headers; the idempotency key names the message; the function's version is pinned."""
    version = queues.deploy(take=carrier.trigger())
    carrier.send([b'{"n": 7, "who": "\xc3\xa9"}'], {"tenant": "blue"})
    queues.listen()
    eventually(lambda: queues.accepted() == 1, within_s=20)
    (record,) = queues.records()
    event = record["event"]
    assert (event["source"], event["type"]) == (carrier.url, "oncue.queue")
    assert event["data"] == {"n": 7, "who": "é"}
    assert event["extensions"]["queue.headers"] == {"tenant": "blue"}
    assert record["key"] == f"{carrier.url} {event['id']}"
    assert (record["function"], record["version"], record["status"]) == ("take", version, "queued")
    assert settled(queues, carrier)


@pytest.mark.parametrize("carrier", ["redis"], indirect=True)
def test_a_cloud_event_that_others_subscribe_to(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """It is an event by name, too: published once, however often it comes, for all that match but the source's own function."""
    queues.deploy(
        take=carrier.trigger(when={"n": 1}),
        twin=carrier.trigger(),
        heard=EventTrigger(type="order.*"),
        other=EventTrigger(type="image.*"),
    )
    headers = {"ce_specversion": "1.0", "ce_source": "/shop", "ce_type": "order.placed"}
    for n in (1, 2):
        carrier.send([b'{"n": %d}' % n], {**headers, "ce_id": str(n)})
    carrier.send([b'{"n": 1}'], {**headers, "ce_id": "1"})
    carrier.send([b'{"n": 3}'])
    queues.listen()
    relay = Relay(queues.url, EVENTS, "tests", queues.catalog)
    relay.start()
    try:
        wanted = Counter({("take", 1): 1, ("twin", 1): 1, ("twin", 2): 1, ("twin", 3): 1, ("heard", 1): 1, ("heard", 2): 1})
        eventually(lambda: queues.count("duplicate") == 2 and queues.accepted() == wanted.total(), within_s=20)
        records = queues.records()
        assert Counter((record["function"], record["event"]["data"]["n"]) for record in records) == wanted
        (heard,) = [each["event"] for each in records if each["function"] == "heard" and each["event"]["id"] == "2"]
        assert (heard["source"], heard["type"]) == ("/shop", "order.placed")
    finally:
        relay.close()
        relay._thread.join(5)


def test_a_malformed_message_before_a_good_one(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """What cannot be read goes among the dead letters, with the reason and its headers; what is behind it is not held up."""
    queues.deploy(take=carrier.trigger(format="json"))
    carrier.send([b'{"n": '], {"tenant": "blue"})
    carrier.send(numbered(3))
    queues.listen()
    eventually(lambda: queues.accepted() == 3, within_s=20)
    eventually(lambda: queues.count("invalid") == 1)
    assert queues.numbers() == Counter(range(3))
    assert settled(queues, carrier)
    ((body, headers),) = carrier.dead_letters()
    assert body == b'{"n": '
    assert headers["tenant"] == "blue"
    assert "cannot be read as JSON" in headers["oncue-reason"]
    assert headers["oncue-source"] == carrier.url


@pytest.mark.parametrize("carrier", ["redis"], indirect=True)
def test_messages_that_are_to_be_dropped(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """`on_invalid="drop"` keeps nothing of what cannot be read; `when=` lets other messages go by."""
    queues.deploy(take=carrier.trigger(on_invalid="drop", when={"n": [1, 2]}))
    carrier.send([b"no", *numbered(5)])
    queues.listen()
    eventually(lambda: queues.count("invalid") == 1 and queues.count("filtered") == 3, within_s=20)
    assert queues.numbers() == Counter([1, 2])
    assert settled(queues, carrier)


@pytest.mark.parametrize("carrier", ["redis"], indirect=True)
def test_the_field_that_names_a_message(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """`dedupe=` makes one invocation of several messages with an equal field; those without it count by themselves."""
    queues.deploy(take=carrier.trigger(dedupe="order.id"))
    carrier.send([b'{"order": {"id": 1}, "n": 0}', b'{"order": {"id": 1}, "n": 0}', b'{"n": 1}', b'{"n": 1}'])
    queues.listen()
    eventually(lambda: queues.count("duplicate") == 1 and queues.accepted() == 3, within_s=20)
    assert queues.numbers() == Counter({0: 1, 1: 2})


@pytest.mark.parametrize("carrier", ["rabbitmq", "redis"], indirect=True)
def test_a_message_delivered_six_times(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """Five listeners are killed between accept and acknowledgement: one invocation, no loss, and the sixth goes on."""
    killed(queues, carrier, eventually)


@pytest.mark.parametrize("carrier", ["redis"], indirect=True)
def test_a_message_of_a_batch_delivered_six_times(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """A message that comes again with other neighbours is left out of their batch."""
    killed(queues, carrier, eventually, batch=3, window_s=0.05)


def test_a_slow_worker(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """`pause_above` bounds the depth of the function's queue; what waits meanwhile waits at the source, and none is lost."""
    queues.deploy(take=carrier.trigger(pause_above=20))
    carrier.send(numbered(300))
    queues.listen()
    deepest = 0

    def all_done() -> bool:
        nonlocal deepest
        deepest = max(deepest, queues.depth())
        queues.work(most=5)
        return queues.accepted() == 300 and queues.depth() == 0

    eventually(lambda: queues.depth() == 20, within_s=20)
    eventually(all_done, within_s=60)
    assert deepest == 20
    assert queues.numbers() == Counter(range(300))
    assert settled(queues, carrier)


@pytest.mark.parametrize("carrier", ["redis"], indirect=True)
def test_a_slow_worker_whose_queue_rabbitmq_carries(
    queues: Queues, carrier: Carrier, rabbitmq_server: RabbitMQServer, eventually: Eventually
) -> None:
    """`pause_above` counts what RabbitMQ has taken over, too: the ledger's stream is empty then."""
    rabbit = Rabbit(rabbitmq_server)
    broker = RabbitCarrier(queues.ledger, "tests", threads=1, url=rabbit.url)
    try:
        broker.declare_queue("default")
        queues.deploy(take=carrier.trigger(pause_above=20))
        carrier.send(numbered(100))
        queues.listen()
        eventually(lambda: queues.redis.zcard("oncue:{default}:leases") == 20 and rabbit.messages() == 20, within_s=20)
        done = deepest = 0
        with rabbit.channel() as channel:

            def all_done() -> bool:
                nonlocal done, deepest
                deepest = max(deepest, queues.accepted() - done)
                bodies = [body for _, _, body in (channel.basic_get("oncue.default", auto_ack=True) for _ in range(5)) if body]
                done += queues.work(delivered=[json.loads(body)["args"][0] for body in bodies]) if bodies else 0
                return done == 100

            eventually(all_done, within_s=60)
        assert deepest == 20
        assert queues.numbers() == Counter(range(100))
    finally:
        broker.close()


def test_two_members_of_which_one_leaves(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """A member that is told to stop finishes what it has and gives back the rest: all messages are accepted once."""
    queues.deploy(take=carrier.trigger())
    carrier.send(numbered(1))
    first, _ = queues.listen(), queues.listen()
    eventually(lambda: queues.states() == ["running", "running"] and queues.accepted() == 1, within_s=30)
    carrier.send(numbered(1500, start=1))
    eventually(lambda: queues.accepted() > 300, within_s=20)
    first.terminate()
    carrier.send(numbered(1500, start=1501))
    assert first.wait(20) == 0
    eventually(lambda: queues.accepted() == 3001, within_s=30)
    eventually(lambda: carrier.unsettled("take") == 0, within_s=20)
    assert queues.numbers() == Counter(range(3001))
    assert settled(queues, carrier)


def test_twenty_thousand_messages(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """All that waits at the source is handed over, each message once."""
    queues.deploy(take=carrier.trigger())
    carrier.send(numbered(20_000))
    queues.listen()
    eventually(lambda: queues.accepted() == 20_000, within_s=90)
    assert queues.numbers() == Counter(range(20_000))
    assert settled(queues, carrier)


def test_batches(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """A batch is one invocation for up to so many messages, each with an id of its own."""
    queues.deploy(take=carrier.trigger(batch=10, window_s=0.3))
    carrier.send(numbered(95))
    queues.listen()
    eventually(lambda: sum(queues.numbers().values()) == 95, within_s=20)
    assert queues.numbers() == Counter(range(95))
    batches = [event["data"]["messages"] for event in queues.events()]
    assert {event["type"] for event in queues.events()} == {"oncue.queue.batch"}
    assert max(map(len, batches)) == 10
    assert len(batches) <= 20
    assert len({message["id"] for messages in batches for message in messages}) == 95
    assert settled(queues, carrier)


def test_the_ledger_killed_under_load(carrier: Carrier, eventually: Eventually, own_ledger: OwnLedger) -> None:
    """While the ledger is away messages wait unacknowledged; once it is back each is accepted once."""
    own_ledger.connections["MAIN"] = carrier.address
    own_ledger.deploy(take=carrier.trigger())
    carrier.send(numbered(2000))
    own_ledger.listen()
    eventually(lambda: own_ledger.accepted() > 100, within_s=20)
    own_ledger.restart_ledger(eventually)
    carrier.send(numbered(500, start=2000))
    eventually(lambda: own_ledger.accepted() == 2500, within_s=30)
    assert own_ledger.numbers() == Counter(range(2500))
    assert settled(own_ledger, carrier)
