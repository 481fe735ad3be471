"""Kafka: a member of a consumer group that commits only what the ledger has, and keeps polling whatever happens.

One thread polls, since librdkafka's client blocks; messages cross to the event loop, and their ends cross back. A partition's
committed offset is the lowest one that is not finished, so a crash delivers again, and never skips. When too much is under way
the partitions are paused; polling goes on, and with it the membership of the group.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from triggers.queues.listener import FINISH_S, Desk, State, end
from triggers.queues.message import Message, SourceAwayError, SourceRefusedError
from triggers.queues.offsets import Offsets

#: Messages under way at which partitions are paused, and at which they go on.
MOST = 1000
RESUME_BELOW = 500
#: Seconds that polling waits for hand-offs before partitions are paused; far below max.poll.interval.ms (5 min).
PATIENCE_S = 0.5
#: Messages taken from librdkafka at once, and seconds a poll waits for the first one.
READ = 250
POLL_S = 0.05
#: Seconds between two commits.
COMMIT_S = 0.2
#: Tries to hand a message over that fails though the ledger is there; then it is a dead letter.
TRIES = 3

Partition = tuple[str, int]

# librdkafka's own log lines; what matters of them reaches the report.
_SILENT = logging.getLogger("oncue.librdkafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def settings(url: str) -> dict[str, Any]:
    """Read a connection: "host:9092,host:9092?security.protocol=sasl_ssl&sasl.username=…", in librdkafka's words."""
    servers, _, options = url.removeprefix("kafka://").partition("?")
    return {"bootstrap.servers": servers.rstrip("/"), **dict(parse_qsl(options))}


class KafkaListener:
    """Consumes one topic."""

    def __init__(self, desk: Desk, url: str) -> None:
        self._desk = desk
        self._settings = settings(url)
        self._most = max(MOST, 2 * desk.source.trigger.batch)
        self._offsets: dict[Partition, Offsets] = {}
        #: tells an assignment of a partition from an earlier one
        self._epochs: dict[Partition, int] = {}
        #: what ended on the event loop: (partition, its epoch, offset)
        self._ended: queue.SimpleQueue[tuple[Partition, int, int]] = queue.SimpleQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = threading.Event()
        self._is_paused = False
        self._producer: Any = None

    async def run(self, stopping: asyncio.Event) -> None:
        """As `Listener.run`."""
        try:
            import confluent_kafka  # the optional extra `kafka`
        except ImportError as error:
            raise SourceRefusedError("Kafka sources need the extra kafka: pip install 'oncue[kafka]'") from error
        self._kafka = confluent_kafka
        self._loop = asyncio.get_running_loop()
        thread = asyncio.create_task(asyncio.to_thread(self._work))
        wish = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({thread, wish}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # The thread ends within the time it gives to hand-offs, whatever happens here.
            self._stopping.set()
            wish.cancel()
            await asyncio.wait({thread})
            await end(set(self._tasks))
        try:
            thread.result()
        except confluent_kafka.KafkaException as error:
            raise SourceAwayError(f"Kafka is away: {error.args[0]}") from error

    # What follows runs on the polling thread, librdkafka's callbacks included.

    def _work(self) -> None:
        source = self._desk.source
        try:
            consumer = self._kafka.Consumer(
                {
                    "client.id": "oncue",
                    "auto.offset.reset": source.trigger.start or "earliest",
                    "partition.assignment.strategy": "cooperative-sticky",
                    "allow.auto.create.topics": True,
                    "queued.max.messages.kbytes": 16 * 1024,
                    **self._settings,
                    "group.id": source.group,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "error_cb": self._on_error,
                    "on_commit": self._on_commit,
                },
                logger=_SILENT,
            )
        except self._kafka.KafkaException as error:
            raise SourceRefusedError(f"librdkafka refuses the connection's settings: {error.args[0]}") from error
        try:
            consumer.subscribe([source.name], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
            self._poll(consumer)
            self._finish(consumer, list(self._offsets), within_s=self._desk.finish_s)
        finally:
            consumer.close()
            if self._producer is not None:
                self._producer.flush(FINISH_S)

    def _poll(self, consumer: Any) -> None:
        next_commit = 0.0
        while not self._stopping.is_set():
            first = consumer.poll(POLL_S)
            if first is not None:
                self._arrived([first, *consumer.consume(READ - 1, 0)])
            self._take_ends()
            self._pause_or_resume(consumer)
            if self._producer is not None:
                self._producer.poll(0)
            if time.monotonic() >= next_commit:
                self._commit(consumer, list(self._offsets))
                next_commit = time.monotonic() + COMMIT_S

    def _arrived(self, messages: Iterable[Any]) -> None:
        begun: list[tuple[Any, int]] = []
        for message in messages:
            error = message.error()
            if error is None:
                partition = (message.topic(), message.partition())
                self._offsets[partition].begun(message.offset())
                begun.append((message, self._epochs[partition]))
            elif error.fatal() or error.code() in self._refusals():
                raise SourceRefusedError(f"Kafka refuses: {error.str()}")
            else:
                self._on_error(error)
        if begun:
            self._tell("running")
            self._loop.call_soon_threadsafe(self._begin, begun)

    def _take_ends(self) -> None:
        while True:
            try:
                partition, epoch, offset = self._ended.get_nowait()
            except queue.Empty:
                return
            if self._epochs.get(partition) == epoch and partition in self._offsets:
                self._offsets[partition].finished(offset)

    def _pause_or_resume(self, consumer: Any) -> None:
        if not self._is_paused and self._under_way() >= self._most:
            # A pause throws away what librdkafka has fetched ahead (1.9k messages/s instead of 10k): first see whether it passes.
            self._wait(lambda: self._under_way() < self._most, PATIENCE_S)
        under_way = self._under_way()
        if not self._is_paused and under_way >= self._most:
            self._is_paused = True
            consumer.pause(consumer.assignment())
        elif self._is_paused and under_way < RESUME_BELOW:
            self._is_paused = False
            consumer.resume(consumer.assignment())

    def _under_way(self) -> int:
        return sum(offsets.count for offsets in self._offsets.values())

    def _wait(self, until: Callable[[], bool], within_s: float) -> None:
        """Wait for hand-offs to end, without polling."""
        ends = time.monotonic() + within_s
        while not until() and time.monotonic() < ends:
            if self._producer is not None:
                self._producer.poll(0)
            time.sleep(0.002)
            self._take_ends()

    def _commit(self, consumer: Any, partitions: Iterable[Partition], *, wait: bool = False) -> None:
        reached = [
            self._kafka.TopicPartition(*partition, offset)
            for partition in partitions
            if (offset := self._offsets[partition].take()) is not None
        ]
        if not reached:
            return
        try:
            # An asynchronous commit tells its end to `_on_commit`.
            consumer.commit(offsets=reached, asynchronous=not wait)
        except self._kafka.KafkaException as error:
            self._on_commit(error.args[0], reached)

    def _finish(self, consumer: Any, partitions: list[Partition], *, within_s: float) -> None:
        """Wait for what is under way of these partitions, and commit what is done."""
        self._wait(lambda: not any(self._offsets[partition].count for partition in partitions), within_s)
        self._commit(consumer, partitions, wait=True)

    def _on_assign(self, consumer: Any, partitions: list[Any]) -> None:
        for each in partitions:
            partition = (each.topic, each.partition)
            self._offsets[partition] = Offsets()
            self._epochs[partition] = self._epochs.get(partition, 0) + 1
        if self._is_paused:
            self._is_paused = False  # what is new is not paused; the next look decides for all
            consumer.resume(consumer.assignment())
        self._tell("running")

    def _on_revoke(self, consumer: Any, partitions: list[Any]) -> None:
        gone = [(each.topic, each.partition) for each in partitions]
        self._finish(consumer, [partition for partition in gone if partition in self._offsets], within_s=self._desk.finish_s)
        self._forget(gone)

    def _on_lost(self, _consumer: Any, partitions: list[Any]) -> None:
        self._forget((each.topic, each.partition) for each in partitions)

    def _forget(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._offsets.pop(partition, None)

    def _on_commit(self, error: Any, partitions: list[Any]) -> None:
        """See to commits that were refused, as they are while the group is rebalancing: they are tried again."""
        for each in partitions:
            offsets = self._offsets.get((each.topic, each.partition))
            if (error or each.error) and offsets is not None:
                offsets.refused()

    def _on_error(self, error: Any) -> None:
        # librdkafka connects again by itself, with pauses of its own.
        if error.code() in (self._kafka.KafkaError._ALL_BROKERS_DOWN, self._kafka.KafkaError._TRANSPORT):
            self._tell("away", error.str())

    def _refusals(self) -> tuple[int, ...]:
        codes = self._kafka.KafkaError
        return (codes.TOPIC_AUTHORIZATION_FAILED, codes.GROUP_AUTHORIZATION_FAILED, codes._AUTHENTICATION)

    def _tell(self, state: State, reason: str = "") -> None:
        report = self._desk.report
        if (report.state, report.reason) != (state, reason):
            self._loop.call_soon_threadsafe(report.now, state, reason)

    # What follows runs on the event loop.

    def _begin(self, messages: list[tuple[Any, int]]) -> None:
        for message, epoch in messages:
            task = self._loop.create_task(self._settle(message, epoch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle(self, raw: Any, epoch: int) -> None:
        message = _message(raw)
        for left in reversed(range(TRIES)):
            try:
                await self._desk.settle(message, self._bury)
                break
            except Exception as error:  # a message that can never be handed over must not hold up its partition
                self._desk.log.exception("a message could not be handed over", message=message.identity)
                if not left:
                    await self._desk.refuse(message, f"it could not be handed over: {error}", self._bury)
                await asyncio.sleep(0.5)
        self._ended.put(((raw.topic(), raw.partition()), epoch, raw.offset()))

    async def _bury(self, message: Message, reason: str) -> None:
        if self._producer is None:
            self._producer = self._kafka.Producer({**self._settings, "enable.idempotence": True}, logger=_SILENT)
        raw = message.original
        why = [("oncue-reason", reason.encode()), ("oncue-source", self._desk.source.url.encode())]
        delivered: asyncio.Future[None] = self._loop.create_future()
        self._producer.produce(
            self._desk.source.dead_letter,
            raw.value(),
            raw.key(),
            headers=[*(raw.headers() or []), *why, ("oncue-id", (message.identity or "").encode())],
            on_delivery=lambda error, _: self._loop.call_soon_threadsafe(_delivered, delivered, error),
        )
        await delivered


def _delivered(delivered: asyncio.Future[None], error: Any) -> None:
    if delivered.done():
        return
    if error is None:
        delivered.set_result(None)
    else:
        delivered.set_exception(SourceAwayError(f"a dead letter was not taken: {error.str()}"))


def _message(raw: Any) -> Message:
    headers = {name: _text(value) for name, value in raw.headers() or []}
    # The time keeps a topic that is made anew, and counts from 0 again, apart from the one before.
    _, milliseconds = raw.timestamp()
    key = raw.key()
    return Message(
        raw.value() or b"",
        f"{raw.topic()}-{raw.partition()}-{raw.offset()}@{milliseconds}",
        headers=headers,
        content_type=next((str(value) for name, value in headers.items() if name.lower() == "content-type"), None),
        time=datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None,
        subject=None if key is None else _text(key),
        facts={"topic": raw.topic(), "partition": raw.partition(), "offset": raw.offset()},
        original=raw,
    )


def _text(value: bytes | str | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
