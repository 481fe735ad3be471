"""What is Kafka's own: offsets, pauses, brokers that do not answer, and connections with options."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Callable

import confluent_kafka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.queues.carriers import KafkaCarrier, numbered
from tests.queues.rig import Queues
from triggers.queues.kafka import settings
from triggers.queues.offsets import Offsets

Eventually = Callable[..., object]


@pytest.fixture
def kafka(queues: Queues, kafka_cluster: tuple[str, subprocess.Popen[str]]) -> KafkaCarrier:
    kafka = KafkaCarrier(kafka_cluster[0])
    queues.connections["MAIN"] = kafka.address
    return kafka


@given(st.sets(st.integers(0, 500), min_size=1, max_size=40).map(sorted), st.randoms(use_true_random=False))
def test_what_may_be_committed(offsets: list[int], chance: object) -> None:
    """At any moment it is the offset behind the longest finished run from the start, whatever the order of the ends."""
    partition, finished = Offsets(), set[int]()
    for offset in offsets:
        partition.begun(offset)
    order = offsets.copy()
    chance.shuffle(order)  # type: ignore[attr-defined]  # a random.Random
    committed = None
    for offset in order:
        partition.finished(offset)
        finished.add(offset)
        committed = partition.take() or committed
        run = [each for n, each in enumerate(offsets) if set(offsets[: n + 1]) <= finished]
        assert committed == (run[-1] + 1 if run else None)
    assert partition.count == 0


def test_commits_that_were_refused() -> None:
    """The highest offset is tried again, whatever the order in which several refusals are heard of."""
    partition = Offsets()
    taken = []
    for offset in (4, 5):
        partition.begun(offset)
        partition.finished(offset)
        taken.append(partition.take())
    assert taken == [5, 6]
    partition.refused()
    partition.refused()
    assert (partition.take(), partition.take()) == (6, None)


def test_a_connection_with_options() -> None:
    """Whatever librdkafka can be told, the connection can say."""
    said = settings("kafka://one:9092,two:9092?security.protocol=sasl_ssl&sasl.username=u&sasl.password=p%26q")
    assert said == {
        "bootstrap.servers": "one:9092,two:9092",
        "security.protocol": "sasl_ssl",
        "sasl.username": "u",
        "sasl.password": "p&q",
    }


def test_a_message_without_a_value(queues: Queues, kafka: KafkaCarrier, eventually: Eventually) -> None:
    """A tombstone is an event without data; key, topic, partition and offset are told."""
    queues.deploy(take=kafka.trigger())
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.servers})
    producer.produce(kafka.name, None, b"order-7")
    producer.flush(10)
    queues.listen()
    eventually(lambda: queues.accepted() == 1, within_s=20)
    (event,) = queues.events()
    assert (event["data"], event["subject"], event["extensions"]["queue.offset"]) == (None, "order-7", 0)


def test_brokers_that_do_not_answer_for_a_while(
    queues: Queues, kafka: KafkaCarrier, kafka_cluster: tuple[str, subprocess.Popen[str]], eventually: Eventually
) -> None:
    """The member waits and goes on by itself; each message is accepted once."""
    queues.deploy(take=kafka.trigger(pause_above=200))
    kafka.send(numbered(1000))
    queues.listen()
    eventually(lambda: queues.accepted() == 200, within_s=20)
    kafka_cluster[1].send_signal(signal.SIGSTOP)
    try:
        while queues.work(most=50):
            pass
        reached = queues.accepted()
    finally:
        kafka_cluster[1].send_signal(signal.SIGCONT)

    def drained() -> bool:
        queues.work(most=200)
        return queues.accepted() == 1000

    eventually(drained, within_s=40)
    assert reached < 1000
    assert queues.numbers() == Counter(range(1000))
