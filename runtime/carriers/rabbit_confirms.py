"""A connection to RabbitMQ that publishes in batches and says which messages were confirmed.

pika's blocking channel waits for each confirm alone (about 1,000 a second). Here a batch goes out in one go, and the
confirms are awaited together; the connection's event loop runs in the caller's thread, and only meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any, NoReturn, TypeVar

import pika  # type: ignore[import-untyped]  # it comes without types
import structlog

from runtime.authoring.errors import OnCueError

#: Seconds to open a connection and to declare a queue, and those that a confirm may take. While RabbitMQ blocks its
#: publishers (memory or disk alarm), only the latter stands still: see `BLOCKED_S`.
OPEN_WITHIN_S = 10.0
CONFIRM_WITHIN_S = 30.0

#: Seconds of an alarm after which the connection is given up, and opened anew.
BLOCKED_S = 300.0

#: Seconds a connection may take to close.
CLOSE_WITHIN_S = 1.0

K = TypeVar("K")


class RabbitUnavailableError(OnCueError):
    """RabbitMQ cannot be reached, or does not answer. What was not confirmed may or may not have arrived."""


class ConfirmingChannel:
    """One connection with one channel in confirm mode, for one thread. Opened by `open`, never again after an error."""

    def __init__(self, parameters: pika.connection.Parameters, queue: str, arguments: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._queue = queue
        self._arguments = dict(arguments)
        self._loop = pika.adapters.select_connection.IOLoop()
        self._connection: Any = None
        self._channel: Any = None
        self._lost: BaseException | None = None
        self._published = 0
        #: by delivery tag, in order: key and body of what awaits its confirm
        self._awaited: dict[int, tuple[Any, bytes]] = {}
        self._confirmed: list[Any] = []
        #: bodies of the messages that had no queue to go to
        self._returned: set[bytes] = set()
        self._is_declared = False
        self._is_done: Callable[[], bool] = bool
        self.is_blocked = False
        self._log = structlog.get_logger("oncue.publisher").bind(queue=queue)

    def open(self) -> None:
        """Connect and declare the queue.

        Raises:
            RabbitUnavailableError: that did not succeed.
        """
        self._connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel),
            on_open_error_callback=self._on_lost,
            on_close_callback=self._on_lost,
            custom_ioloop=self._loop,
        )
        self._connection.add_on_connection_blocked_callback(lambda *_: self._on_blocked(True))
        self._connection.add_on_connection_unblocked_callback(lambda *_: self._on_blocked(False))
        self._run(lambda: self._is_declared, OPEN_WITHIN_S)
        self._raise_if_lost()
        if not self._is_declared:
            self._fail(TimeoutError(f"no answer within {OPEN_WITHIN_S:g} s"))

    def publish(self, bodies: Mapping[K, bytes], stopping: Callable[[], bool]) -> list[K]:
        """Publish messages to the queue, persistent; return the keys of those that RabbitMQ has confirmed.

        Waits as long as an alarm lasts, `BLOCKED_S` seconds at the most, unless `stopping()` says otherwise.

        Raises:
            RabbitUnavailableError: the connection is lost, and nothing was confirmed.
        """
        self._confirmed, self._returned = [], set()
        properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
        self._raise_if_lost()
        assert self._channel is not None
        try:
            for key, body in bodies.items():
                self._published += 1
                self._awaited[self._published] = (key, body)
                self._channel.basic_publish("", self._queue, body, properties, mandatory=True)
        except pika.exceptions.AMQPError as error:
            self._fail(error)
        ends = time.monotonic() + CONFIRM_WITHIN_S
        while self._awaited and self._lost is None and not stopping():
            self._run(lambda: not self._awaited, 1.0)
            if self.is_blocked:
                ends = time.monotonic() + CONFIRM_WITHIN_S
            elif self._awaited and time.monotonic() > ends:
                self._lost = TimeoutError(f"no confirm within {CONFIRM_WITHIN_S:g} s")
        if not self._confirmed:
            self._raise_if_lost()
        if self._returned and self._lost is None:
            self._log.warning("the queue was gone and is declared anew", returned=len(self._returned))
            self._declare()
        return self._confirmed

    def attend(self) -> None:
        """Answer heartbeats, and take note of a lost connection; call this once a second or so.

        Raises:
            RabbitUnavailableError: the connection is lost.
        """
        self._run(lambda: False, 0.0)
        self._raise_if_lost()

    def close(self) -> None:
        """Close the connection, whatever its state; one that RabbitMQ blocks, and so does not answer, is cut after a second."""
        connection = self._connection
        if connection is not None:
            if not (connection.is_closed or connection.is_closing):
                connection.close()
            ends = time.monotonic() + CLOSE_WITHIN_S
            while not connection.is_closed and time.monotonic() < ends:
                self._turn(0.05)
            if not connection.is_closed:
                connection._adapter_disconnect_stream()  # pika has no public way to give up on an answer
            self._turn(0.05)  # the socket is closed by a last callback
        self._loop.close()

    def _run(self, is_done: Callable[[], bool], within_s: float) -> None:
        """Run the event loop until something is done, the connection is lost, or the time is up."""
        self._is_done = is_done
        if is_done() or self._lost is not None:
            return
        self._turn(within_s)

    def _turn(self, within_s: float) -> None:
        timer = self._loop.call_later(within_s, self._loop.stop)
        self._loop.start()
        self._loop.remove_timeout(timer)

    def _wake(self) -> None:
        if self._is_done():
            self._loop.stop()

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_lost)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm)
        self._declare()

    def _declare(self) -> None:
        assert self._channel is not None
        self._channel.queue_declare(self._queue, durable=True, arguments=self._arguments, callback=self._on_declared)

    def _on_declared(self, _frame: object) -> None:
        self._is_declared = True
        self._wake()

    def _on_return(self, _channel: Any, _method: object, _properties: object, body: bytes) -> None:
        self._returned.add(body)  # its confirm comes after it

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        last = method.delivery_tag
        tags = list(takewhile(lambda tag: tag <= last, self._awaited)) if method.multiple else [last]
        for tag in tags:
            key, body = self._awaited.pop(tag)
            if isinstance(method, pika.spec.Basic.Ack) and body not in self._returned:
                self._confirmed.append(key)
        self._wake()

    def _on_blocked(self, is_blocked: bool) -> None:
        self.is_blocked = is_blocked
        if is_blocked:
            self._log.warning("RabbitMQ takes no messages for now (memory or disk alarm)")
        else:
            self._log.info("RabbitMQ takes messages again")

    def _on_lost(self, _connection_or_channel: object, reason: BaseException) -> None:
        self._lost = self._lost or reason
        self._loop.stop()

    def _fail(self, error: BaseException) -> NoReturn:
        self._lost = self._lost or error
        raise RabbitUnavailableError(f"RabbitMQ is away: {_sentence(self._lost)}") from self._lost

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            self._fail(self._lost)


def _sentence(error: BaseException) -> str:
    """Return what pika says in one line; its connection errors wrap others, and the innermost one tells."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    return " ".join(str(error).split())[:200] or type(error).__name__
