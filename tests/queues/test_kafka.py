"""What is Kafka's own: offsets, pauses, brokers that do not answer, and connections with options."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import confluent_kafka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.authoring.triggers import QueueTrigger
from tests.queues.carriers import KafkaCarrier, numbered
from tests.queues.kafka_cluster import MISSING
from tests.queues.redelivery import killed
from tests.queues.rig import Queues
from triggers.queues.kafka.member import MOST, Heard, Member
from triggers.queues.kafka.messages import settings
from triggers.queues.kafka.offsets import Offsets
from triggers.queues.source import Source

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
    """A tombstone is an event without data; key, topic, partition and offset are told. The group is the function's own."""
    queues.deploy(take=QueueTrigger(url=kafka.url))
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.servers})
    producer.produce(kafka.name, None, b"order-7")
    producer.flush(10)
    queues.listen()
    eventually(lambda: queues.accepted() == 1, within_s=20)
    (event,) = queues.events()
    assert (event["data"], event["subject"], event["extensions"]["queue.offset"]) == (None, "order-7", 0)
    kafka.group = "oncue.take"
    eventually(lambda: kafka.unsettled("take") == 0)


def test_a_message_delivered_six_times(queues: Queues, kafka: KafkaCarrier, eventually: Eventually) -> None:
    """As for the other sources; the group takes its time to notice each death, and to share its partitions anew."""
    queues.connections["MAIN"] = kafka.address.replace("session.timeout.ms=2000", "session.timeout.ms=1100")
    killed(queues, kafka, eventually)


def test_messages_from_before_the_group(queues: Queues, kafka: KafkaCarrier, eventually: Eventually) -> None:
    """With `start="latest"` a new group begins with what comes."""
    kafka.send(numbered(8))
    queues.deploy(take=kafka.trigger(start="latest"))
    queues.listen()

    def heard() -> bool:
        kafka.send([b'{"n": 8}'])  # the end of the topic is looked up a moment after the partition was assigned
        return queues.accepted() > 0

    eventually(heard, within_s=20)
    assert set(queues.numbers()) == {8}


def test_dead_letters_that_are_too_large(queues: Queues, kafka: KafkaCarrier, eventually: Eventually) -> None:
    """With its reason a message exceeds what may be sent: it is buried without its body, at last without key and headers."""
    # What the connection says of producers holds for dead letters, too.
    queues.connections["MAIN"] = f"{kafka.address}&message.max.bytes=2000&acks=1"
    queues.deploy(take=kafka.trigger(format="cloudevents"))
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.servers})
    producer.produce(kafka.name, b"x" * 1900, b"large body", partition=0)
    producer.produce(kafka.name, b"no", b"k" * 1900, partition=0)
    producer.produce(kafka.name, None, b"tombstone", headers={"mine": b"h" * 1900}, partition=0)
    producer.produce(kafka.name, b"small", b"small", headers={"mine": b"h"}, partition=0)
    assert producer.flush(10) == 0
    queues.listen()
    eventually(lambda: queues.count("invalid") == 4, within_s=20)
    letters = {headers["oncue-id"].split("@")[0]: (body, headers) for body, headers in kafka.dead_letters()}
    (large, large_headers), *without_key, (small, small_headers) = [letters[f"{kafka.name}-0-{offset}"] for offset in range(4)]
    assert large is None
    assert large_headers["oncue-reason"].endswith("its 1,900 bytes were left out, which did not fit")
    for body, headers in without_key:
        assert (body, "mine" in headers) == (None, False)
        assert headers["oncue-reason"].endswith("its body, key and headers were left out, which did not fit")
    assert (small, small_headers["mine"]) == (b"small", "h")
    eventually(lambda: kafka.unsettled("take") == 0, within_s=20)


def test_a_dead_letter_whose_reason_does_not_fit(queues: Queues, kafka: KafkaCarrier, eventually: Eventually) -> None:
    """The reason is cut until it does, so that nothing waits behind it."""
    queues.connections["MAIN"] = f"{kafka.address}&message.max.bytes=1000"
    queues.deploy(take=kafka.trigger())
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.servers})
    producer.produce(kafka.name, b"no", headers={"content-type": ("\u00e9" * 5000).encode()}, partition=0)
    producer.produce(kafka.name, b'{"n": 1}', partition=0)
    assert producer.flush(10) == 0
    queues.listen()
    eventually(lambda: queues.count("invalid") == 1 and queues.accepted() == 1, within_s=20)
    ((body, headers),) = kafka.dead_letters()
    assert (body, headers["oncue-source"]) == (None, kafka.url)
    assert headers["oncue-reason"].startswith("its content type is 'éé")
    assert headers["oncue-reason"].endswith("its body, key and headers were left out, which did not fit")
    eventually(lambda: kafka.unsettled("take") == 0, within_s=20)


def test_brokers_that_go_away_under_load(
    queues: Queues, kafka: KafkaCarrier, kafka_cluster: tuple[str, subprocess.Popen[str]], eventually: Eventually
) -> None:
    """Connections are refused for a while; the member says so, comes back by itself, and accepts each message once."""
    standard_input = kafka_cluster[1].stdin
    assert standard_input is not None
    queues.deploy(take=kafka.trigger(pause_above=200))
    kafka.send(numbered(1000))
    queues.listen()
    eventually(lambda: queues.accepted() == 200, within_s=20)
    print("down", file=standard_input, flush=True)
    try:
        eventually(lambda: queues.states() == ["away"], within_s=20)
        while queues.work(most=50):
            pass
    finally:
        print("up", file=standard_input, flush=True)

    def drained() -> bool:
        queues.work(most=200)
        return queues.accepted() == 1000

    eventually(drained, within_s=40)
    eventually(lambda: queues.states() == ["running"] and kafka.unsettled("take") == 0, within_s=20)
    assert queues.numbers() == Counter(range(1000))


def test_a_member_that_is_paused_for_long(queues: Queues, kafka: KafkaCarrier, eventually: Eventually) -> None:
    """It goes on polling, and so stays a member for longer than librdkafka waits for a poll: nothing is delivered again."""
    queues.connections["MAIN"] = f"{kafka.address}&max.poll.interval.ms=2000"
    queues.deploy(take=kafka.trigger(pause_above=200))
    kafka.send(numbered(200 + MOST))
    queues.listen()
    eventually(lambda: queues.accepted() == 200, within_s=20)
    paused_until = time.monotonic() + 3
    eventually(lambda: time.monotonic() > paused_until)

    def drained() -> bool:
        queues.work(most=200)
        return queues.accepted() == 200 + MOST

    eventually(drained, within_s=20)
    eventually(lambda: kafka.unsettled("take") == 0, within_s=20)
    assert queues.numbers() == Counter(range(200 + MOST))
    assert queues.count("duplicate") == 0


def test_a_message_of_a_partition_that_was_taken_away() -> None:
    """What was fetched before another member got the partition is left to that member."""
    source = Source.of(QueueTrigger(url="kafka://main/orders"), SimpleNamespace(name="take"))  # type: ignore[arg-type]  # no more is read
    heard: list[Heard] = []
    desk = SimpleNamespace(source=source)
    member = Member(confluent_kafka, {}, desk, None, hear=heard.extend, tell=lambda *_: None)  # type: ignore[arg-type]  # as above
    kept, gone = (confluent_kafka.TopicPartition("orders", number) for number in range(2))
    member._on_assign(None, [kept, gone])
    member._on_lost(None, [gone])
    messages = [confluent_kafka.Message("orders", number, 5, b"key", b"{}") for number in (1, 0)]
    member._arrived(messages)
    assert heard == [(messages[1], 1)]


def test_a_topic_that_is_not_there(queues: Queues, kafka: KafkaCarrier, eventually: Eventually) -> None:
    """Its source is reported as away, with the reason; it is waited for."""
    queues.deploy(take=QueueTrigger(url=f"kafka://main/{MISSING}"))
    queues.listen()
    eventually(lambda: queues.states() == ["away"], within_s=20)
    assert "topic not available: missing" in queues.statuses()[0]["reason"]
    assert "topic not available: missing" in queues.log.read_text()


def test_brokers_that_refuse_the_password(queues: Queues, kafka: KafkaCarrier, eventually: Eventually) -> None:
    """The source is reported as away, with the reason and without the password. These brokers refuse any."""
    sasl = "security.protocol=sasl_plaintext&sasl.mechanisms=PLAIN&sasl.username=shop&sasl.password=hunter2"
    queues.connections["MAIN"] = f"{kafka.address}&{sasl}"
    queues.deploy(take=kafka.trigger())
    queues.listen()
    eventually(lambda: queues.states() == ["away"], within_s=20)
    assert "Failed to initialize SASL authentication" in queues.statuses()[0]["reason"]
    assert "hunter2" not in queues.log.read_text() + str(queues.statuses())


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
