"""The way from the ledger to RabbitMQ: a queue's stream is the outbox, and what RabbitMQ has confirmed leaves it.

read ── publish ── confirmed? ── remove

What was read and not confirmed stays in the stream, pending under this publisher's name: it is published again by this
one once RabbitMQ is back, or by another one when this one is gone. So a message may come twice; its claim drops it.
While RabbitMQ is away, or blocks, nothing is read; accepts go on.
"""

from __future__ import annotations

import random
import threading
import time

import structlog
from dramatiq import Message

from runtime.carriers.carrier import ACTOR
from runtime.carriers.rabbit_confirms import ConfirmingChannel, RabbitUnavailableError
from runtime.carriers.rabbit_queues import RabbitQueue
from runtime.ledger.keys import queue_of
from runtime.ledger.ledger import Delivery, Ledger
from runtime.ledger.wire import LedgerUnavailableError

#: Messages published before their confirms are awaited.
WINDOW = 500

#: Seconds a read waits for entries, between two looks at the connection.
WAIT_S = 1.0

#: Seconds between two tries to connect: doubled from the first to the second, with jitter.
BACK_OFF_S = (0.05, 5.0)


class Publisher:
    """Publishes what is queued in one queue, on a thread of its own."""

    def __init__(self, ledger: Ledger, queue: RabbitQueue, consumer: str) -> None:
        self._ledger = ledger
        self._target = queue
        self._queue = queue.queue
        self._consumer = consumer
        self._channel: ConfirmingChannel | None = None
        #: read by this publisher, and not known to be confirmed
        self._has_unsent = True
        #: confirmed, but still in the stream because Redis went away in between
        self._confirmed: list[Delivery] = []
        self._next_takeover = 0.0
        self._failures = 0
        self._log = structlog.get_logger("oncue.publisher").bind(queue=self._queue)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"publisher-{self._queue}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop publishing; the thread ends within a second or two."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._channel is None:
                    self._open()
                else:
                    self._step(self._channel)
            except RabbitUnavailableError as error:
                self._drop(str(error))
            except LedgerUnavailableError:
                self._has_unsent = True
                self._stopping.wait(0.5)
            except Exception as error:  # noqa: BLE001  # nobody starts this thread again, and what is queued would stay
                self._log.exception("messages could not be published")
                self._drop(str(error))
        if self._channel is not None:
            self._channel.close()

    def _open(self) -> None:
        self._channel = self._target.confirming_channel()
        self._channel.open()
        self._has_unsent = True
        if self._failures:
            self._log.info("messages are published again")
        self._failures = 0

    def _drop(self, reason: str) -> None:
        if self._failures == 0:
            self._log.warning("messages wait in Redis until RabbitMQ takes them", reason=reason)
        if self._channel is not None:
            self._channel.close()
        self._channel = None
        self._stopping.wait(back_off_s(self._failures))
        self._failures += 1

    def _step(self, channel: ConfirmingChannel) -> None:
        """Publish one batch, when there is one."""
        if not self._confirmed:
            batch = self._read()
            if not batch:
                return channel.attend()
            ours = {each: self._body(each[1]) for each in batch if queue_of(each[1]) == self._queue}
            for entry, text in batch:
                if (entry, text) not in ours:
                    self._ledger.park(self._queue, {"id": text}, "no invocation id")
                    self._confirmed.append((entry, text))
            sent = channel.publish(ours, self._stopping.is_set)
            self._confirmed += sent
            if len(sent) < len(ours):
                self._has_unsent = True
                self._stopping.wait(back_off_s(2))
        if self._confirmed:
            self._ledger.sent(self._queue, self._confirmed)
            self._confirmed = []
        return None

    def _read(self) -> list[Delivery]:
        if self._has_unsent:
            batch = self._ledger.own_unsent(self._queue, self._consumer, count=WINDOW)
            self._has_unsent = bool(batch)
            return batch
        now = time.monotonic()
        if now >= self._next_takeover:
            self._next_takeover = now + WAIT_S
            if batch := self._ledger.unsent(self._queue, self._consumer, count=WINDOW):
                return batch
        return self._ledger.deliveries(self._queue, self._consumer, count=WINDOW, block_s=WAIT_S)

    def _body(self, invocation_id: str) -> bytes:
        """Return Dramatiq's own encoding of a message that names an invocation."""
        message: Message[None] = Message(
            queue_name=self._queue,
            actor_name=ACTOR.format(queue=self._queue),
            args=(invocation_id,),
            kwargs={},
            options={},
            message_id=invocation_id,
            message_timestamp=0,
        )
        return message.encode()


def back_off_s(failures: int) -> float:
    """Return the pause before the next try to connect, in seconds, after so many failures in a row."""
    least, most = BACK_OFF_S
    return min(most, least * 2.0 ** min(failures, 16)) * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, guards nothing
