"""The sources that the same tests run against: how a test sends to each, and what it sees there."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import uuid4

import confluent_kafka
import pika
import redis

from runtime.authoring.triggers import QueueTrigger

Headers = dict[str, str]


class Carrier(Protocol):
    """One kind of source, with a queue of its own for each test."""

    address: str
    url: str

    def trigger(self, **options: Any) -> QueueTrigger:
        """A source that reads this queue, patient for no longer than a test."""
        ...

    def send(self, bodies: Sequence[bytes], headers: Headers | None = None) -> None:
        """Send messages; return when the server has them."""
        ...

    def unsettled(self, function: str) -> int:
        """How many messages the server still holds for the function."""
        ...

    def dead_letters(self) -> list[tuple[bytes, dict[str, str]]]:
        """Body and headers of what was put among the dead letters."""
        ...


class RabbitCarrier:
    def __init__(self, address: str) -> None:
        self.address = address
        self.name = f"orders-{uuid4().hex[:8]}"
        self.url = f"rabbitmq://main/{self.name}"

    def trigger(self, **options: Any) -> QueueTrigger:
        return QueueTrigger(url=self.url, **options)

    def send(self, bodies: Sequence[bytes], headers: Headers | None = None) -> None:
        with self.connect() as connection:
            channel = connection.channel()
            if not self.is_there(self.name):
                arguments = {
                    "x-queue-type": "quorum",
                    "x-delivery-limit": 20,
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": f"{self.name}.dead",
                    "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                }
                channel.queue_declare(self.name, durable=True, arguments=arguments)
            for body in bodies:
                properties = pika.BasicProperties(message_id=uuid4().hex, headers=headers, delivery_mode=2)
                channel.basic_publish("", self.name, body, properties)
            channel.confirm_delivery()
            channel.queue_declare(f"{self.name}.sent", durable=True)
            channel.basic_publish("", f"{self.name}.sent", b"")  # taken, and so is all that came before

    def unsettled(self, function: str) -> int:
        with self.connect() as connection:
            channel = connection.channel()
            waiting: int = channel.queue_declare(self.name, passive=True).method.message_count
            if waiting:
                return waiting
            # What is delivered and not acknowledged does not count as waiting; it comes back when its consumer is gone.
            return 0

    def dead_letters(self) -> list[tuple[bytes, dict[str, str]]]:
        found = []
        with self.connect() as connection:
            channel = connection.channel()
            while (got := channel.basic_get(f"{self.name}.dead", auto_ack=True))[0] is not None:
                found.append((got[2], {name: str(value) for name, value in (got[1].headers or {}).items()}))
        return found

    def connect(self) -> Any:
        return pika.BlockingConnection(pika.URLParameters(self.address))

    def is_there(self, name: str) -> bool:
        with self.connect() as connection:
            try:
                connection.channel().queue_declare(name, passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                return False
            return True


def is_taken(channel: Any, key: str, body: bytes, properties: pika.BasicProperties | None = None, exchange: str = "") -> bool:
    """Publish a message; False when the queue refuses it, as a new quorum queue does until it has a leader."""
    try:
        channel.basic_publish(exchange, key, body, properties)
    except pika.exceptions.NackError:
        return False
    return True


class StreamCarrier:
    def __init__(self, address: str) -> None:
        self.address = address
        self.name = f"orders-{uuid4().hex[:8]}"
        self.url = f"redis://main/{self.name}"
        self.redis = redis.Redis.from_url(address)

    def trigger(self, **options: Any) -> QueueTrigger:
        return QueueTrigger(url=self.url, **{"claim_idle_s": 0.6, **options})

    def send(self, bodies: Sequence[bytes], headers: Headers | None = None) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        for body in bodies:
            pipeline.xadd(self.name, {**(headers or {}), "data": body})
        pipeline.execute()

    def unsettled(self, function: str) -> int:
        groups = [group for group in self.redis.xinfo_groups(self.name) if group["name"].decode() == f"oncue.{function}"]
        return int(groups[0]["pending"]) + int(groups[0]["lag"]) if groups else int(self.redis.xlen(self.name))

    def dead_letters(self) -> list[tuple[bytes, dict[str, str]]]:
        entries: Any = self.redis.xrange(f"{self.name}.dead")
        return [
            (fields[b"data"], {name.decode(): value.decode() for name, value in fields.items() if name != b"data"})
            for _, fields in entries
        ]


class KafkaCarrier:
    def __init__(self, address: str) -> None:
        self.servers = address
        self.address = f"{address}?session.timeout.ms=2000&heartbeat.interval.ms=200"
        self.name = f"orders-{uuid4().hex[:8]}"
        self.url = f"kafka://main/{self.name}"
        #: a group for each test: in a common one it would wait for the members that the test before has killed
        self.group = self.name

    def trigger(self, **options: Any) -> QueueTrigger:
        return QueueTrigger(url=self.url, group=self.group, **options)

    def send(self, bodies: Sequence[bytes], headers: Headers | None = None) -> None:
        producer = confluent_kafka.Producer({"bootstrap.servers": self.servers})
        for number, body in enumerate(bodies):
            producer.produce(self.name, body, str(number).encode(), headers=list((headers or {}).items()))
            producer.poll(0)
        assert producer.flush(20) == 0

    def unsettled(self, function: str) -> int:
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.servers, "group.id": self.group})
        try:
            partitions = [confluent_kafka.TopicPartition(self.name, number) for number in range(4)]
            committed = {each.partition: max(each.offset, 0) for each in consumer.committed(partitions, timeout=10)}
            return sum(consumer.get_watermark_offsets(each, timeout=10)[1] - committed[each.partition] for each in partitions)
        finally:
            consumer.close()

    def dead_letters(self) -> list[tuple[bytes, dict[str, str]]]:
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.servers, "group.id": "nobody"})
        try:
            topic, found = f"{self.name}.dead", []
            partitions = [confluent_kafka.TopicPartition(topic, number, 0) for number in range(4)]
            left = sum(consumer.get_watermark_offsets(each, timeout=10)[1] for each in partitions)
            consumer.assign(partitions)
            ends = time.monotonic() + 10
            while len(found) < left and time.monotonic() < ends:
                message = consumer.poll(0.1)
                if message is not None and message.error() is None:
                    found.append((message.value(), {name: value.decode() for name, value in message.headers()}))
            return found
        finally:
            consumer.close()


def numbered(count: int, start: int = 0) -> list[bytes]:
    """The bodies {"n": 0}, {"n": 1}, …"""
    return [json.dumps({"n": number}).encode() for number in range(start, start + count)]
