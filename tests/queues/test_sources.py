"""What holds for every source that keeps messages: RabbitMQ, Redis Streams and Kafka, on real servers."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.queues.carriers import Carrier, KafkaCarrier, numbered
from tests.queues.rig import OwnLedger, Queues

Eventually = Callable[..., object]


def settled(queues: Queues, carrier: Carrier, function: str = "take") -> bool:
    """Stop everything in order, so that the server alone knows what is left; tell whether that is nothing."""
    for process in queues.processes:
        if process.poll() is None:
            assert queues.stop(process) == 0
    return carrier.unsettled(function) == 0


@pytest.mark.parametrize("carrier", ["rabbitmq", "redis"], indirect=True)
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


def test_a_listener_killed_between_accept_and_ack_five_times(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """However often a message is delivered again, it makes one invocation; none is lost."""
    # Kafka's group takes six seconds to notice each death, and three more to share its partitions anew.
    killed(queues, carrier, eventually, times=1 if isinstance(carrier, KafkaCarrier) else 5)


@pytest.mark.parametrize("carrier", ["redis"], indirect=True)
def test_a_listener_of_batches_killed_five_times(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """A message that comes again with other neighbours is left out of their batch."""
    killed(queues, carrier, eventually, times=5, batch=3, window_s=0.05)


def killed(queues: Queues, carrier: Carrier, eventually: Eventually, *, times: int, **options: object) -> None:
    queues.deploy(take=carrier.trigger(**options))
    carrier.send(numbered(8))
    for _ in range(times):
        process = queues.listen("kill-after", "1")
        eventually(lambda process=process: process.poll() is not None, within_s=30)
        assert process.returncode == -signal.SIGKILL
        assert 1 <= queues.accepted() <= 8
    queues.listen()
    eventually(lambda: sum(queues.numbers().values()) == 8, within_s=30)
    eventually(lambda: queues.count("duplicate") >= 1, within_s=30)
    assert queues.numbers() == Counter(range(8))
    assert settled(queues, carrier)


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


def test_five_thousand_messages(queues: Queues, carrier: Carrier, eventually: Eventually) -> None:
    """All that waits at the source is handed over, each message once."""
    queues.deploy(take=carrier.trigger())
    carrier.send(numbered(5000))
    queues.listen()
    eventually(lambda: queues.accepted() == 5000, within_s=30)
    assert queues.numbers() == Counter(range(5000))
    assert settled(queues, carrier)


@pytest.mark.parametrize("carrier", ["redis"], indirect=True)
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


@pytest.mark.parametrize("carrier", ["rabbitmq", "redis"], indirect=True)
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
