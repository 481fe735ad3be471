"""The topic of what cannot be read: body, key and headers as they came, and why."""

from __future__ import annotations

import asyncio
from typing import Any

from triggers.queues.kafka.messages import SILENT, headers_of
from triggers.queues.listener import FINISH_S
from triggers.queues.message import Message, SourceAwayError
from triggers.queues.source import Source

#: Bytes of the reason when nothing else is left to leave out: with source and id it then fits the least that librdkafka
#: takes for message.max.bytes (1000).
SHORT_REASON = 200

Header = tuple[str, bytes | None]


class Graves:
    """Dead letters of one source. `bury` belongs to the event loop, the rest to the thread that polls."""

    def __init__(self, kafka: Any, settings: dict[str, Any], source: Source) -> None:
        self._kafka = kafka
        self._settings = settings
        self._source = source
        self._producer: Any = None

    async def bury(self, message: Message, reason: str) -> None:
        """Put a message among the dead letters; return when the brokers have it.

        Raises:
            SourceAwayError: they have not taken it.
        """
        if self._producer is None:
            # Not idempotent: a connection that says acks=1 would be refused, and a dead letter may come twice anyway.
            self._producer = self._kafka.Producer(self._settings, logger=SILENT)
        raw = message.original
        key, headers = raw.key(), headers_of(raw)
        no_body = f"; its {len(message.body):,} bytes were left out, which did not fit"
        no_more = "; its body, key and headers were left out, which did not fit"
        short = reason.encode()[:SHORT_REASON].decode(errors="ignore")
        # With its reason it is larger than it came, and may exceed what a producer or the topic takes.
        letters: tuple[tuple[bytes | None, bytes | None, list[Header], str], ...] = (
            (raw.value(), key, headers, reason),
            (None, key, headers, reason + no_body),
            (None, None, [], reason + no_more),
            (None, None, [], f"{short}…{no_more}"),
        )
        for letter in letters:
            if await self._is_taken(*letter, message.identity):
                return
        raise SourceAwayError("a dead letter was not taken: its reason alone is too large for the brokers")

    async def _is_taken(
        self, value: bytes | None, key: bytes | None, headers: list[Header], reason: str, identity: str | None
    ) -> bool:
        """Produce a dead letter; False: it is too large."""
        loop = asyncio.get_running_loop()
        delivered: asyncio.Future[None] = loop.create_future()
        why = {"oncue-reason": reason, "oncue-source": self._source.url, "oncue-id": identity or ""}

        def settle(error: Any, _: Any) -> None:
            loop.call_soon_threadsafe(_settle, delivered, error and self._kafka.KafkaException(error))

        try:
            self._producer.produce(
                self._source.dead_letter,
                value,
                key,
                headers=[*headers, *((name, text.encode()) for name, text in why.items())],
                on_delivery=settle,
            )
            await delivered
        except self._kafka.KafkaException as error:
            if error.args[0].code() == self._kafka.KafkaError.MSG_SIZE_TOO_LARGE:
                return False
            raise SourceAwayError(f"a dead letter was not taken: {error.args[0].str()}") from error
        except BufferError as error:
            raise SourceAwayError("a dead letter was not taken: too many are on their way") from error
        return True

    def serve(self) -> None:
        """Hear what became of dead letters; to be called again and again."""
        if self._producer is not None:
            self._producer.poll(0)

    def close(self) -> None:
        """Wait for dead letters that are on their way."""
        if self._producer is not None:
            self._producer.flush(FINISH_S)


def _settle(delivered: asyncio.Future[None], error: Exception | None) -> None:
    if delivered.done():
        return
    if error is None:
        delivered.set_result(None)
    else:
        delivered.set_exception(error)
