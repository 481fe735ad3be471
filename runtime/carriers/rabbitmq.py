"""The RabbitMQ carrier: Dramatiq's RabbitmqBroker over quorum queues, with the ledger's streams as its outbox.

accept ── stream ── Publisher ── RabbitMQ ── consumer ── claim ── actor

A message carries an invocation id, {"args": ["default-01j…"], …}, and is acknowledged as soon as the ledger has
answered the claim: from then on the claim's lease in Redis sees to recovery. So no handler is ever bound by RabbitMQ's
consumer timeout, and a connection that drops during a handler costs nothing. A message that comes twice finds its
invocation running or over, and is dropped.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec
import pika  # type: ignore[import-untyped]  # it comes without types
import structlog
from dramatiq import Consumer, MessageProxy
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.errors import QueueNotFound

from runtime.carriers.carrier import ACTOR, Carrier, carried
from runtime.carriers.holdings import Holdings
from runtime.carriers.rabbit_publisher import Publisher, back_off_s
from runtime.carriers.rabbit_queues import RabbitQueue, nodes_of
from runtime.ledger.keys import queue_of
from runtime.ledger.ledger import Ledger
from runtime.ledger.records import Claim
from runtime.ledger.wire import LedgerUnavailableError

#: Seconds without room for more, after which messages on their way to this worker go back to the queue for others.
STEP_BACK_S = 0.25

#: A message of ours has some 200 bytes; larger ones are not even looked into.
MAX_BODY_BYTES = 4096


class RabbitCarrier(Carrier, RabbitmqBroker):  # type: ignore[misc]  # where Dramatiq keeps names of queues, there are more
    """Carries over RabbitMQ at `url`: amqp://…, or several of one cluster with ";" between.

    RabbitMQ need not be there yet, and may go away: consumers and publishers connect again by themselves.
    """

    def __init__(self, ledger: Ledger, consumer: str, *, threads: int, url: str) -> None:
        super().__init__(ledger, consumer, threads=threads, url=url)
        self._nodes = nodes_of(self.parameters)
        self._publishers: dict[str, Publisher] = {}
        # pika tells of each lost connection in a dozen lines; the carrier tells of it in one.
        logging.getLogger("pika").setLevel(logging.CRITICAL)

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """Carry a queue from now on, and publish what is queued there; `ensure` is for Dramatiq, and changes nothing."""
        super().declare_queue(queue_name)
        if queue_name not in self._publishers:
            self._publishers[queue_name] = Publisher(self.ledger, RabbitQueue(queue_name, self._nodes), self.consumer)
            self._publishers[queue_name].start()

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Return the consumer of a queue; `timeout` (ms) bounds each wait. Holdings decide how much is fetched."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]  # dramatiq leaves its errors untyped
        queue = RabbitQueue(queue_name, self._nodes)
        return _QuorumConsumer(self.ledger, queue, self.consumer, self.queues[queue_name], timeout / 1000)

    def close(self) -> None:
        """Stop publishing; what is not confirmed stays in the stream."""
        for publisher in self._publishers.values():
            publisher.close()
        for publisher in self._publishers.values():
            publisher.join(5.0)


class _QuorumConsumer(Consumer):
    """Receives, claims and acknowledges in batches, on the one thread that Dramatiq's Worker gives each queue."""

    def __init__(self, ledger: Ledger, queue: RabbitQueue, consumer: str, holdings: Holdings, timeout_s: float) -> None:
        self._ledger = ledger
        self._source = queue
        self._queue = queue.queue
        self._consumer = consumer
        self._holdings = holdings
        self._timeout_s = timeout_s
        self._channel: Any | None = None
        #: messages that may be on their way or unclaimed; 0: none are asked for
        self._prefetch = 0
        self._is_starved = False
        self._connect_at = 0.0
        self._failures = 0
        #: delivery tag and body of what was received, but not claimed because Redis went away in between
        self._received: list[tuple[int, bytes]] = []
        self._fetched: deque[Claim] = deque()
        self._pause_s = 0.0
        self._log = structlog.get_logger("oncue.carrier").bind(queue=self._queue)

    def __next__(self) -> MessageProxy | None:
        if not self._fetched:
            try:
                self._fetch()
            except LedgerUnavailableError as error:
                self._rest(error)
            except (pika.exceptions.AMQPError, OSError) as error:
                self._lose(error)
            except Exception:
                if not self._fetched:
                    raise  # else it comes again with the next fetch, and what was claimed before it goes first
        return carried(self._fetched.popleft()) if self._fetched else None

    def _fetch(self) -> None:
        room = self._holdings.await_room(min(self._timeout_s, STEP_BACK_S))
        channel = self._open()
        if channel is None:
            return
        if room <= 0 and not self._received:
            self._step_back(channel)
            return
        if not self._received:
            self._receive(channel, room)
        if self._received:
            claims = self._claim([body for _, body in self._received])
            last, self._received = self._received[-1][0], []
            if self._holdings.take(claims):
                self._fetched.extend(claims)
            elif claims:
                self._ledger.hand_back(self._queue, claims)
            channel.basic_ack(last, multiple=True)
        if self._pause_s:
            self._pause_s = 0.0
            self._log.info("Redis is back")

    def _open(self) -> Any | None:
        if self._channel is None:
            wait_s = self._connect_at - time.monotonic()
            if wait_s > 0:
                time.sleep(min(wait_s, self._timeout_s))
                return None
            self._channel = self._source.consuming_channel()
            if self._failures:
                self._log.info("messages are received again")
            self._failures = 0
        return self._channel

    def _receive(self, channel: Any, room: int) -> None:
        """Wait for a message, and take those that came with it."""
        # A window for as many as there is room for: what is received is claimed and acknowledged at once. It grows when
        # handlers turn out to be fast and messages come a windowful at a time.
        if self._prefetch == 0 or (self._is_starved and room >= 2 * self._prefetch):
            channel.cancel()
            channel.basic_qos(prefetch_count=room)
            self._prefetch = room
        waiting = channel.consume(self._source.name, inactivity_timeout=self._timeout_s)
        count = 1
        while len(self._received) < min(count, room):
            # Ends when RabbitMQ cancels the consumer: its queue was deleted.
            method, _, body = next(waiting, (None, None, b"cancelled"))
            if method is None:
                if body is not None:
                    raise pika.exceptions.ConsumerCancelled("the queue is gone")
                break
            self._received.append((method.delivery_tag, body))
            count = len(self._received) + channel.get_waiting_message_count()
        self._is_starved = len(self._received) >= self._prefetch

    def _claim(self, bodies: list[bytes]) -> list[Claim]:
        ids = []
        for body in bodies:
            try:
                ids.append(("", invocation_id(body, self._queue)))
            except ValueError as error:
                self._log.error("a message was parked", reason=str(error))
                fields = {"body": body[:MAX_BODY_BYTES].decode(errors="replace"), "bytes": str(len(body))}
                self._ledger.park(self._queue, fields, str(error))
        return self._ledger.claim(self._queue, self._consumer, ids) if ids else []

    def _step_back(self, channel: Any) -> None:
        """Ask for no more, and give back what is on its way: another worker may have a thread for it."""
        if self._prefetch:
            channel.cancel()
            self._prefetch = 0
        channel.connection.process_data_events(0)

    def _rest(self, error: LedgerUnavailableError) -> None:
        if not self._pause_s:
            self._log.warning("nothing can be claimed until Redis is back", reason=str(error))
        self._pause_s = min(max(self._pause_s * 2, 0.05), 1.0)
        time.sleep(self._pause_s)
        if self._channel is not None:
            try:
                self._channel.connection.process_data_events(0)  # heartbeats
            except (pika.exceptions.AMQPError, OSError) as lost:
                self._lose(lost)

    def _lose(self, error: Exception) -> None:
        """Connect anew, later: what was received and not acknowledged will be delivered again."""
        if not self._failures:
            self._log.warning("messages are not received until RabbitMQ is back", reason=f"{type(error).__name__}: {error}")
        self._received = []
        self.close()
        self._connect_at = time.monotonic() + back_off_s(self._failures)
        self._failures += 1

    def ack(self, message: MessageProxy) -> None:
        """Do nothing: the message was acknowledged when it was claimed."""

    def nack(self, message: MessageProxy) -> None:
        """Do nothing, as for `ack`."""

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Do nothing: `stop_intake` has handed back what did not start."""

    def close(self) -> None:
        """Close the connection; RabbitMQ delivers to others what was not acknowledged."""
        channel, self._channel, self._prefetch = self._channel, None, 0
        if channel is not None and channel.connection.is_open:
            try:
                channel.connection.close()
            except (pika.exceptions.AMQPError, OSError):
                return


class _Body(msgspec.Struct):
    """The part of Dramatiq's message that matters here."""

    actor_name: str
    args: list[str]


_decode = msgspec.json.Decoder(_Body).decode


def invocation_id(body: bytes, queue: str) -> str:
    """Return the id that a message carries.

    Raises:
        ValueError: it is no message of OnCue's for this queue; says why.
    """
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"{len(body)} bytes are no message of OnCue's")
    try:
        message = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no message of Dramatiq's: {error}") from error
    if message.actor_name != ACTOR.format(queue=queue):
        raise ValueError(f"no actor {message.actor_name[:80]!r} here")
    if len(message.args) != 1 or queue_of(message.args[0]) != queue:
        raise ValueError("its argument is no invocation id of this queue")
    return message.args[0]
