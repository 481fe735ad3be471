"""pika's asynchronous connection, awaited: whatever is asked fails as soon as the connection or channel does."""

from __future__ import annotations

import asyncio
from typing import Any

import pika  # type: ignore[import-untyped]  # it comes without types
from pika.adapters.asyncio_connection import AsyncioConnection  # type: ignore[import-untyped]  # as above
from pika.exceptions import AMQPError, ChannelClosed  # type: ignore[import-untyped]  # as above

from triggers.queues.amqp_values import read_all_values
from triggers.queues.message import SourceAwayError, SourceRefusedError

#: Seconds that opening a connection may take.
CONNECT_S = 10.0
#: Seconds that RabbitMQ may hold publishers back (a memory or disk alarm) before the connection counts as lost.
BLOCKED_S = 30.0

#: Reply codes that trying again does not mend (AMQP 0-9-1, section 1.2): the declaration or the configuration must change.
_REFUSALS = {403, 405, 406, 530}


class UnroutableError(SourceAwayError):
    """There is no such queue to publish to."""


class Channel:
    """One channel. Every method raises `SourceAwayError` or `SourceRefusedError` once it is closed."""

    def __init__(self, raw: Any, asked: set[asyncio.Future[Any]]) -> None:
        self.raw = raw
        #: ends with the reason when the channel is closed by the other side
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked = asked
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        self._published = 0
        raw.add_on_close_callback(self._on_close)

    async def do(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of pika's channel that answers by callback; return its answer."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.add(answer)
        try:
            getattr(self.raw, method)(*arguments, **options, callback=lambda reply: settle(answer, reply))
            await asyncio.wait({answer, self.closed}, return_when=asyncio.FIRST_COMPLETED)
            return await (answer if answer.done() else self.closed)
        except AMQPError as error:
            raise translated(error) from error
        finally:
            self._asked.discard(answer)

    async def confirm(self) -> None:
        """Have every `publish` wait until RabbitMQ has taken the message over."""
        self.raw.add_on_return_callback(lambda *_: self._on_return())
        await self.do("confirm_delivery", self._on_confirm)

    async def publish(self, queue: str, body: bytes, properties: pika.BasicProperties) -> None:
        """Publish to a queue; return when RabbitMQ has it.

        Raises:
            UnroutableError: there is no such queue.
        """
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.add(confirmed)
        try:
            self.raw.basic_publish("", queue, body, properties, mandatory=True)
            self._published += 1
            self._unconfirmed[self._published] = confirmed
            await asyncio.wait({confirmed, self.closed}, return_when=asyncio.FIRST_COMPLETED)
            await (confirmed if confirmed.done() else self.closed)
        except AMQPError as error:
            raise translated(error) from error
        finally:
            self._asked.discard(confirmed)

    def _on_confirm(self, frame: Any) -> None:
        tag, is_taken = frame.method.delivery_tag, isinstance(frame.method, pika.spec.Basic.Ack)
        tags = [each for each in self._unconfirmed if each <= tag] if frame.method.multiple else [tag]
        for each in tags:
            confirmed = self._unconfirmed.pop(each)
            if confirmed.done():
                continue
            if is_taken:
                confirmed.set_result(None)
            else:
                confirmed.set_exception(SourceAwayError("RabbitMQ did not take a dead letter over"))

    def _on_return(self) -> None:
        # It does not say which one it was. All go to one queue, and one too many is better than one too few.
        for confirmed in self._unconfirmed.values():
            if not confirmed.done():
                confirmed.set_exception(UnroutableError("RabbitMQ has no queue for dead letters"))

    def _on_close(self, _channel: Any, reason: Exception) -> None:
        if not self.closed.done():
            self.closed.set_exception(translated(reason))
            self.closed.exception()  # nobody need be waiting


class Connection:
    """One connection to RabbitMQ, on the running event loop."""

    def __init__(self) -> None:
        self._raw: Any = None
        self._asked: set[asyncio.Future[Any]] = set()
        self._ended = asyncio.get_running_loop().create_future()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connect.

        Raises:
            SourceAwayError: nobody answers. SourceRefusedError: the URL or the credentials are wrong.
        """
        self = cls()
        read_all_values()
        try:
            parameters = pika.URLParameters(url)
        except ValueError as error:
            raise SourceRefusedError(f"the connection's URL cannot be read: {error}") from error
        parameters.blocked_connection_timeout = BLOCKED_S
        parameters.socket_timeout = parameters.stack_timeout = CONNECT_S
        self._raw = AsyncioConnection(
            parameters,
            on_open_callback=lambda _: settle(self._opened),
            on_open_error_callback=lambda _, error: self._fail(error),
            on_close_callback=lambda _, reason: self._fail(reason),
            custom_ioloop=asyncio.get_running_loop(),
        )
        try:
            await asyncio.wait_for(self._opened, CONNECT_S)
        except TimeoutError:
            await self.close()
            raise SourceAwayError(f"RabbitMQ has not answered within {CONNECT_S:g} s") from None
        return self

    async def channel(self) -> Channel:
        """Open a channel."""
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.add(opened)
        try:
            self._raw.channel(on_open_callback=lambda raw: settle(opened, Channel(raw, self._asked)))
            channel: Channel = await opened
            return channel
        except AMQPError as error:
            raise translated(error) from error
        finally:
            self._asked.discard(opened)

    async def exists(self, kind: str, name: str) -> bool:
        """Tell whether there is such a "queue" or "exchange"."""
        probe = await self.channel()  # RabbitMQ closes it when there is none
        try:
            await probe.do(f"{kind}_declare", name, passive=True)
        except SourceRefusedError as error:
            if isinstance(error.__cause__, ChannelClosed) and error.__cause__.reply_code == 404:
                return False
            raise
        probe.raw.close()
        return True

    async def close(self) -> None:
        """Close the connection, all frames sent."""
        if self._raw is None or self._raw.is_closed:
            return
        if not self._raw.is_closing:
            self._raw.close()
        await asyncio.wait({self._ended}, timeout=CONNECT_S)

    def _fail(self, error: Exception) -> None:
        meaning = translated(error)
        if not self._ended.done():
            self._ended.set_result(None)
        for asked in (self._opened, *self._asked):
            if not asked.done():
                asked.set_exception(meaning)
                asked.exception()  # nobody need be waiting


def settle(future: asyncio.Future[Any], value: Any = None) -> None:
    """Give a future its value, unless it has ended."""
    if not future.done():
        future.set_result(value)


def translated(error: Exception) -> Exception:
    """Return the error that means the same to a listener's keeper."""
    code = getattr(error, "reply_code", None)
    nested = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    text = getattr(error, "reply_text", None) or str(nested) or repr(nested)
    refuses = code in _REFUSALS or isinstance(
        nested, pika.exceptions.ProbableAuthenticationError | pika.exceptions.ProbableAccessDeniedError
    )
    found: Exception
    if refuses or code == 404:
        found = SourceRefusedError(f"RabbitMQ refuses: {text}")
    else:
        found = SourceAwayError(f"RabbitMQ is away: {text}")
    found.__cause__ = error
    return found
