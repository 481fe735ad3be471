"""RabbitMQ: a queue with its bindings and dead letters, consumed with manual acknowledgements.

deliver ── hand-off ── ack. While nothing can be handed over for long (the ledger is away, the function's queue is full)
the consumer is cancelled and its messages are returned, so that `consumer_timeout` never closes the channel.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pika  # type: ignore[import-untyped]  # it comes without types

from triggers.queues.amqp import Channel, Connection, UnroutableError, settle
from triggers.queues.amqp_values import as_json, moment, text, to_send_on
from triggers.queues.listener import Desk, UnderWay, until_first
from triggers.queues.message import Message, SourceAwayError, SourceRefusedError

#: Messages that RabbitMQ sends ahead.
PREFETCH = 500
#: Deliveries after which a quorum queue gives a message up (RabbitMQ's own default since 4.0).
DELIVERY_LIMIT = 20
#: Seconds without a hand-off after which messages are returned, and how often that is looked at.
RETURN_AFTER_S = 30.0
LOOK_S = 1.0
#: Seconds after which a message whose dead letter was not taken goes back to its queue.
PAUSE_S = 1.0


class RabbitListener:
    """Consumes one queue."""

    def __init__(self, desk: Desk, url: str) -> None:
        self._desk = desk
        self._url = url
        trigger = desk.source.trigger
        self._queue, self._dead = desk.source.name, desk.source.dead_letter
        self._kind = trigger.queue_type or "quorum"
        self._prefetch = trigger.prefetch or max(PREFETCH, 2 * trigger.batch)
        self._under_way = UnderWay(self._prefetch)
        self._buries = trigger.on_invalid == "dead_letter" or trigger.dead_letter is not None
        self._channel: Channel | None = None
        self._tag = ""

    async def run(self, stopping: asyncio.Event) -> None:
        """As `Listener.run`."""
        connection = await Connection.open(self._url)
        try:
            await self._declare(connection)
            self._graves = await connection.channel()
            await self._graves.confirm()
            self._channel = channel = await connection.channel()
            await until_first(stopping, self._watch(channel), self._watch(self._graves), self._consume(channel))
            await channel.do("basic_cancel", self._tag)
            await self._under_way.finish(self._desk.finish_s)
        finally:
            await self._return_all()
            await connection.close()

    async def _watch(self, channel: Channel) -> None:
        await channel.closed

    async def _declare(self, connection: Connection) -> None:
        """Make the queue, its dead letters and its binding, unless they are there."""
        source, channel = self._desk.source, await connection.channel()
        trigger = source.trigger
        says_how = trigger.queue_type or trigger.delivery_limit or trigger.dead_letter
        if self._buries and not await connection.exists("queue", self._dead):
            await self._declare_dead(channel)
        # A queue that is there is taken as it is, unless the source says how it has to be.
        if says_how or not await connection.exists("queue", self._queue):
            try:
                await channel.do("queue_declare", self._queue, durable=True, arguments=self._arguments())
            except SourceRefusedError as error:
                raise SourceRefusedError(
                    f"the queue {self._queue!r} is there with other arguments; leave queue_type, delivery_limit and "
                    f"dead_letter out to take it as it is, or delete it ({error})"
                ) from error
        if trigger.bind is not None:
            exchange, pattern = trigger.bind
            if not await connection.exists("exchange", exchange):
                await channel.do("exchange_declare", exchange, exchange_type="topic", durable=True)
            await channel.do("queue_bind", self._queue, exchange, pattern)
        channel.raw.close()

    async def _declare_dead(self, channel: Channel) -> None:
        await channel.do("queue_declare", self._dead, durable=True, arguments={"x-queue-type": self._kind})

    def _arguments(self) -> dict[str, Any]:
        trigger, kind = self._desk.source.trigger, self._kind
        arguments: dict[str, Any] = {"x-queue-type": kind}
        if self._buries:
            arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self._dead}
        if kind == "quorum":
            arguments["x-delivery-limit"] = trigger.delivery_limit or DELIVERY_LIMIT
            if "x-dead-letter-exchange" in arguments:
                # Without it RabbitMQ may lose what it dead-letters; it needs this overflow behaviour.
                arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        return arguments

    async def _consume(self, channel: Channel) -> None:
        """Consume; return messages when nothing can be handed over for long, and go on once it can.

        Each return counts as a delivery, also by `nack` (seen with RabbitMQ 3.10), so that a queue that is full
        again and again would make dead letters of what is sent ahead. After a return no more than a batch is, until
        hand-offs have not been held up for as long.
        """
        hand_off = self._desk.hand_off
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        channel.raw.add_on_cancel_callback(lambda _: settle(gone))
        ahead = self._prefetch
        while True:
            await channel.do("basic_qos", prefetch_count=ahead)
            answer = await channel.do("basic_consume", self._queue, on_message_callback=self._arrived)
            self._tag = answer.method.consumer_tag
            self._desk.report.now("running")
            flows_since = time.monotonic()
            while hand_off.blocked_s < RETURN_AFTER_S:
                await asyncio.wait({gone}, timeout=LOOK_S)
                if gone.done():
                    raise SourceAwayError(f"the queue {self._queue!r} was deleted")
                if hand_off.blocked_s:
                    flows_since = time.monotonic()
                elif ahead < self._prefetch and time.monotonic() - flows_since > RETURN_AFTER_S:
                    break
            await channel.do("basic_cancel", self._tag)
            if hand_off.blocked_s < RETURN_AFTER_S:
                ahead = self._prefetch
                continue
            await self._return_all()
            await hand_off.unblocked()
            ahead = min(self._prefetch, self._desk.source.trigger.batch)

    async def _return_all(self) -> None:
        """Give back what is under way."""
        await self._under_way.cancel()
        if self._channel is not None and self._channel.raw.is_open:
            self._channel.raw.basic_nack(0, multiple=True, requeue=True)

    def _arrived(self, raw: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        self._under_way.begin(self._settle(raw, method, properties, body))

    async def _settle(self, raw: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        tag = method.delivery_tag
        try:
            await self._desk.settle(_message(method, properties, body), self._bury)
        except Exception as error:  # its dead letter was not taken, as when the channel is gone; it comes again
            if not isinstance(error, SourceAwayError | SourceRefusedError):
                self._desk.log.exception("a dead letter could not be buried", message=text(properties.message_id))
            await asyncio.sleep(PAUSE_S)
            if raw.is_open:
                raw.basic_nack(tag, requeue=True)
            return
        if raw.is_open:
            raw.basic_ack(tag)

    async def _bury(self, message: Message, reason: str) -> None:
        properties: pika.BasicProperties = message.original
        letter = _letter(properties, {"oncue-reason": reason, "oncue-source": self._desk.source.url})
        try:
            await self._graves.publish(self._dead, message.body, letter)
        except UnroutableError:
            await self._declare_dead(self._graves)
            await self._graves.publish(self._dead, message.body, letter)


def _message(method: Any, properties: pika.BasicProperties, body: bytes) -> Message:
    return Message(
        body,
        text(properties.message_id) or None,
        headers=as_json(properties.headers or {}),
        content_type=text(properties.content_type),
        time=moment(properties.timestamp),
        subject=text(method.routing_key),
        facts={"exchange": text(method.exchange), "redelivered": method.redelivered, **_said(properties)},
        original=properties,
    )


def _letter(properties: pika.BasicProperties, why: dict[str, str]) -> pika.BasicProperties:
    """Return a message's properties as those of its dead letter: all but what would act once more."""
    kept = {name: value for name, value in vars(properties).items() if value is not None}
    # A message's own expiration has run out, or would end its stay among the dead letters.
    kept.pop("expiration", None)
    # CC and BCC would send it to their queues again.
    headers = to_send_on({name: value for name, value in kept.pop("headers", {}).items() if name not in ("CC", "BCC")})
    # RabbitMQ takes a message from nobody but the user whom it names (406), and this connection's is another one.
    user = text(kept.pop("user_id", None))
    why = why if user is None else {**why, "oncue-user-id": user}
    return pika.BasicProperties(**kept | {"headers": headers | why, "delivery_mode": 2})


def _said(properties: pika.BasicProperties) -> dict[str, str]:
    names = ("correlation_id", "reply_to", "app_id", "type")
    return {name: said for name in names if (said := text(getattr(properties, name))) is not None}
