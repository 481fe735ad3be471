"""The polling side: one thread, since librdkafka's client blocks. It joins, fetches, pauses and commits.

When too much is under way the partitions are paused; polling goes on, and with it the membership of the group.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from triggers.queues.kafka.graves import Graves
from triggers.queues.kafka.messages import SILENT
from triggers.queues.kafka.offsets import Offsets
from triggers.queues.listener import Desk
from triggers.queues.message import SourceRefusedError

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
#: Seconds between two looks whether brokers that were away are back, and seconds that they have to answer.
LOOK_S = 1.0
ANSWER_S = 0.5

Partition = tuple[str, int]
#: a message, and the assignment of its partition that it came under
Heard = tuple[Any, int]


class Member:
    """A member of the source's group. Only `stop` and `finished` may be called from another thread."""

    def __init__(
        self,
        kafka: Any,
        settings: dict[str, Any],
        desk: Desk,
        graves: Graves,
        *,
        hear: Callable[[list[Heard]], None],
        tell: Callable[..., None],
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._desk = desk
        self._graves = graves
        self._hear, self._tell = hear, tell
        self._most = max(MOST, 2 * desk.source.trigger.batch)
        self._offsets: dict[Partition, Offsets] = {}
        #: tells an assignment of a partition from an earlier one
        self._epochs: dict[Partition, int] = {}
        #: what ended on the event loop: (partition, its epoch, offset)
        self._ended: queue.SimpleQueue[tuple[Partition, int, int]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._is_paused = False
        #: the last trouble with a single broker: it refused the password, has no such address, hung up
        self._cause = ""

    def stop(self) -> None:
        """Have `work` stop intake, finish what is under way, commit and leave the group."""
        self._stopping.set()

    def finished(self, partition: Partition, epoch: int, offset: int) -> None:
        """Note that a message needs no more."""
        self._ended.put((partition, epoch, offset))

    def work(self) -> None:
        """Be a member until `stop`.

        Raises:
            SourceRefusedError: the settings or the permissions are wrong. KafkaException: librdkafka cannot go on.
        """
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
                logger=SILENT,
            )
        except self._kafka.KafkaException as error:
            raise SourceRefusedError(f"librdkafka refuses the connection's settings: {error.args[0]}") from error
        try:
            consumer.subscribe([source.name], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
            self._poll(consumer)
            self._finish(consumer, list(self._offsets), within_s=self._desk.finish_s)
        finally:
            consumer.close()
            self._graves.close()

    def _poll(self, consumer: Any) -> None:
        next_commit = next_look = 0.0
        while not self._stopping.is_set():
            first = consumer.poll(POLL_S)
            if first is not None:
                self._arrived([first, *consumer.consume(READ - 1, 0)])
            self._take_ends()
            self._pause_or_resume(consumer)
            self._graves.serve()
            if time.monotonic() >= next_commit:
                self._commit(consumer, list(self._offsets))
                next_commit = time.monotonic() + COMMIT_S
            if self._desk.report.state == "away" and time.monotonic() >= next_look:
                self._look(consumer)
                next_look = time.monotonic() + LOOK_S

    def _look(self, consumer: Any) -> None:
        """See whether the topic is back; no message need come to tell that."""
        name = self._desk.source.name
        try:
            topic = consumer.list_topics(name, timeout=ANSWER_S).topics[name]
        except self._kafka.KafkaException:
            return
        if topic.error is None:
            self._tell("running")

    def _arrived(self, messages: Iterable[Any]) -> None:
        begun: list[tuple[Any, int]] = []
        for message in messages:
            error = message.error()
            if error is None:
                partition = (message.topic(), message.partition())
                # It may be taken away between two messages that are read at once; then another member gets them.
                if partition in self._offsets:
                    self._offsets[partition].begun(message.offset())
                    begun.append((message, self._epochs[partition]))
            elif error.fatal() or error.code() in self._refusals():
                raise SourceRefusedError(f"Kafka refuses: {error.str()}")
            else:
                self._on_error(error)
        if begun:
            self._tell("running")
            self._hear(begun)

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
            self._graves.serve()
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
        # librdkafka connects again by itself, with pauses of its own, and asks again for a topic that is not there. One broker
        # of several that is lost need not matter; why the last one was is told before.
        codes = self._kafka.KafkaError
        if error.code() == codes._ALL_BROKERS_DOWN:
            self._tell("away", f"{error.str()}: {self._cause}" if self._cause else error.str())
        elif error.code() == codes.UNKNOWN_TOPIC_OR_PART:
            self._tell("away", error.str())
        else:
            self._cause = error.str()

    def _refusals(self) -> tuple[int, ...]:
        codes = self._kafka.KafkaError
        return (codes.TOPIC_AUTHORIZATION_FAILED, codes.GROUP_AUTHORIZATION_FAILED, codes._AUTHENTICATION)
