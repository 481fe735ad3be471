"""The event loop's side: messages are handed over here, and their ends go back to the thread that polls."""

from __future__ import annotations

import asyncio
from typing import Any

from triggers.queues.kafka.graves import Graves
from triggers.queues.kafka.member import Heard, Member
from triggers.queues.kafka.messages import message_of, settings
from triggers.queues.listener import Desk, State, end
from triggers.queues.message import SourceAwayError, SourceRefusedError

#: Seconds between two tries to bury a dead letter that the brokers did not take.
PAUSE_S = 1.0


class KafkaListener:
    """Consumes one topic."""

    def __init__(self, desk: Desk, url: str) -> None:
        self._desk = desk
        self._settings = settings(url)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """As `Listener.run`."""
        try:
            import confluent_kafka  # the optional extra `kafka`
        except ImportError as error:
            raise SourceRefusedError("Kafka sources need the extra kafka: pip install 'oncue[kafka]'") from error
        self._loop = asyncio.get_running_loop()
        self._graves = Graves(confluent_kafka, self._settings, self._desk.source)
        self._member = Member(confluent_kafka, self._settings, self._desk, self._graves, hear=self._hear, tell=self._tell)
        thread = asyncio.create_task(asyncio.to_thread(self._member.work))
        wish = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({thread, wish}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # The thread ends within the time it gives to hand-offs, whatever happens here.
            self._member.stop()
            wish.cancel()
            await asyncio.wait({thread})
            await end(set(self._tasks))
        try:
            thread.result()
        except confluent_kafka.KafkaException as error:
            raise SourceAwayError(f"Kafka is away: {error.args[0]}") from error

    def _hear(self, messages: list[Heard]) -> None:
        self._loop.call_soon_threadsafe(self._begin, messages)

    def _tell(self, state: State, reason: str = "") -> None:
        report = self._desk.report
        if (report.state, report.reason) != (state, reason):
            self._loop.call_soon_threadsafe(self._note, state, reason)

    def _note(self, state: State, reason: str) -> None:
        report = self._desk.report
        is_news = state == "away" and report.state != "away"
        report.now(state, reason)
        if is_news:
            self._desk.log.warning("a source is away; trying again", reason=reason)

    def _begin(self, messages: list[Heard]) -> None:
        for raw, epoch in messages:
            task = self._loop.create_task(self._settle(raw, epoch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle(self, raw: Any, epoch: int) -> None:
        message = message_of(raw)
        while True:
            try:
                await self._desk.settle(message, self._graves.bury)
                break
            except SourceAwayError as error:  # its dead letter was not taken
                self._desk.log.warning("a dead letter waits for the brokers", message=message.identity, reason=str(error))
            except Exception:  # a defect must not end this task: its partition would never be committed further
                self._desk.log.exception("a dead letter could not be buried", message=message.identity)
            await asyncio.sleep(PAUSE_S)
        self._member.finished((raw.topic(), raw.partition()), epoch, raw.offset())
