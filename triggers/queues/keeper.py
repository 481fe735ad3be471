"""Keeps one source listened to: starts its listener again whenever it is lost, with growing pauses and jitter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog

from triggers.queues.accepting import Accepting
from triggers.queues.backoff import Backoff
from triggers.queues.handoff import HandOff
from triggers.queues.kafka.listener import KafkaListener
from triggers.queues.listener import Desk, Listener, Report, end
from triggers.queues.message import SourceAwayError, SourceRefusedError
from triggers.queues.rabbitmq import RabbitListener
from triggers.queues.redis_pubsub import PubSubListener
from triggers.queues.redis_streams import StreamListener
from triggers.queues.source import Connections, Source

#: Seconds between two tries to reach a source: the first pause, the longest one.
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 10.0
#: Seconds after which a source that was refused is tried again: somebody may have mended what is on the other side.
REFUSED_S = 15.0

_SCHEMES = {
    "rabbitmq": ("amqp", "amqps"),
    "redis": ("redis", "rediss", "unix"),
    "redis+pubsub": ("redis", "rediss", "unix"),
    "kafka": ("", "kafka"),
}
_LISTENERS: dict[str, Callable[[Desk, str], Listener]] = {
    "rabbitmq": RabbitListener,
    "redis": StreamListener,
    "redis+pubsub": PubSubListener,
    "kafka": KafkaListener,
}


class Keeper:
    """One source, kept."""

    def __init__(self, source: Source, accepting: Accepting, connections: Connections, changed: Callable[[], None]) -> None:
        self.hand_off = HandOff(accepting, source)
        self.report = Report(changed=changed)
        self._desk = Desk(self.hand_off, self.report)
        self._connections = connections
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("oncue.queues").bind(source=source.url, function=source.function.name)

    def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._keep())

    async def close(self, within_s: float) -> None:
        """Stop in order; cut it short after `within_s` seconds."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=within_s)
            await end({self._task})

    async def _keep(self) -> None:
        backoff = Backoff(BACKOFF_MIN_S, BACKOFF_MAX_S)
        while not self._stopping.is_set():
            try:
                await self._listener().run(self._stopping)
                return
            except SourceRefusedError as error:
                if self.report.now("refused", str(error)):
                    self._log.error("a source cannot be read", reason=str(error))
                pause_s = REFUSED_S
            except SourceAwayError as error:
                pause_s = self._away(backoff, str(error))
            except Exception as error:  # noqa: BLE001  # a defect in one listener must not end the others, nor itself for good
                self._log.exception("a listener failed")
                pause_s = self._away(backoff, f"{type(error).__name__}: {error}")
            waiting = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({waiting}, timeout=pause_s)
            waiting.cancel()

    def _away(self, backoff: Backoff, reason: str) -> float:
        if self.report.state == "running":
            backoff.reset()
        if self.report.now("away", reason):
            self._log.warning("a source is away; trying again", reason=reason)
        return backoff.pause_s()

    def _listener(self) -> Listener:
        source = self._desk.source
        url = connection_url(source, self._connections)
        if source.trigger.format == "bytes" and source.trigger.batch == 1 and not source.takes_blob:
            raise SourceRefusedError(
                f"format='bytes' fills the function's one bytes parameter, and {source.function.name!r} has none; "
                "add one, or use another format"
            )
        return _LISTENERS[source.trigger.scheme](self._desk, url)


def connection_url(source: Source, connections: Connections) -> str:
    """Return where a source's connection leads.

    Raises:
        SourceRefusedError: it is not configured, or leads to another kind of server.
    """
    variable, url = connections(source.connection)
    scheme, wanted = source.trigger.scheme, _SCHEMES[source.trigger.scheme]
    if url is None:
        raise SourceRefusedError(f"the connection {source.connection!r} of {source.url} is not configured; set {variable}")
    try:
        found = urlsplit(url).scheme if "://" in url else ""
        if scheme != "kafka":
            _ = urlsplit(url).port
    except ValueError as error:
        raise SourceRefusedError(f"{variable} is no address that {source.url} could use: {error}") from None
    if found not in wanted:
        raise SourceRefusedError(
            f"{variable} is a {found or 'bare'} address, and {source.url} needs "
            f"{' or '.join(f'{each}://' if each else 'host:port' for each in wanted)}; name another connection for {scheme} sources"
        )
    return url
