"""What listeners share: their report, the way of one message, and how many are under way."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import structlog

from triggers.queues.handoff import HandOff
from triggers.queues.message import InvalidMessageError, Message
from triggers.queues.source import Source

#: Seconds that hand-offs under way may take once a listener stops; and when nothing can be handed over at that moment.
FINISH_S = 5.0
FINISH_BLOCKED_S = 0.5
#: Tries to hand over a message that fails though the ledger is there, and seconds between them; then it is a dead letter.
TRIES = 3
PAUSE_S = 0.5
#: Characters of the reason that a dead letter gives; a part of the message may stand in it.
MAX_REASON = 500

State = Literal["connecting", "running", "away", "refused"]


@dataclass(slots=True)
class Report:
    """How a source is doing, for `readyz` and people."""

    state: State = "connecting"
    #: why it is not running; empty when it is
    reason: str = ""
    since: float = field(default_factory=time.time)
    #: messages by what became of them: accepted, duplicate, filtered, invalid, lost
    counts: Counter[str] = field(default_factory=Counter)
    #: is called when the state or its reason changes
    changed: Callable[[], None] = lambda: None

    def now(self, state: State, reason: str = "") -> bool:
        """Note a state; return whether it is another than before."""
        is_other = (state, reason) != (self.state, self.reason)
        if state != self.state:
            self.since = time.time()
        self.state, self.reason = state, reason
        if is_other:
            self.changed()
        return is_other


class Listener(Protocol):
    """One connection to one source."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Listen until `stopping` is set; then finish hand-offs, acknowledge, and give back the rest.

        Raises:
            SourceAwayError, SourceRefusedError: what was under way was given back, or will be delivered again.
        """
        ...


#: Puts a message among the source's dead letters, with a reason; returns when it is there.
Bury = Callable[[Message, str], Awaitable[None]]


class Desk:
    """Where each message of a source is seen to."""

    def __init__(self, hand_off: HandOff, report: Report) -> None:
        self.hand_off = hand_off
        self.report = report
        self.log = structlog.get_logger("oncue.queues").bind(source=hand_off.source.url, function=self.source.function.name)

    @property
    def source(self) -> Source:
        return self.hand_off.source

    @property
    def finish_s(self) -> float:
        """Seconds that a stopping listener gives to what is under way."""
        return FINISH_BLOCKED_S if self.hand_off.blocked_s else FINISH_S

    async def settle(self, message: Message, bury: Bury | None) -> None:
        """See to a message; return when the source may forget it.

        Raises:
            Exception: it is a dead letter that could not be buried.
        """
        why = ""
        for _ in range(TRIES):
            try:
                self.report.counts[await self.hand_off.take(message)] += 1
            except InvalidMessageError as error:
                why = str(error)
                break
            except Exception as error:  # a defect that one message meets must not hold up those behind it
                self.log.exception("a message could not be handed over", message=message.identity)
                why = f"it could not be handed over: {error}"
                await asyncio.sleep(PAUSE_S)
            else:
                return
        await self.refuse(message, why, bury)

    async def refuse(self, message: Message, reason: str, bury: Bury | None) -> None:
        """See to a message that cannot be handed over: bury it, or drop it where the source says so."""
        reason = reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}…"
        buries = bury is not None and self.source.trigger.on_invalid == "dead_letter"
        if bury is not None and buries:
            await bury(message, reason)
        self.report.counts["invalid"] += 1
        done = "put among the dead letters" if buries else "dropped"
        self.log.warning(f"a message was {done}", message=message.identity, reason=reason)


class UnderWay:
    """The hand-offs of a listener: bounded, and ended in order."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_room = asyncio.Event()
        self._has_room.set()

    @property
    def room(self) -> int:
        return max(0, self.most - self.count)

    async def wait_for_room(self) -> None:
        """Wait until less is under way than may be."""
        await self._has_room.wait()

    def begin(self, work: Coroutine[Any, Any, None], size: int = 1) -> None:
        """Have the hand-off of `size` messages done."""
        self.count += size
        if self.count >= self.most:
            self._has_room.clear()
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._ended(task, size))

    def _ended(self, task: asyncio.Task[None], size: int) -> None:
        self._tasks.discard(task)
        self.count -= size
        if self.count < self.most:
            self._has_room.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            structlog.get_logger("oncue.queues").error("a hand-off failed", exc_info=error)

    async def finish(self, within_s: float) -> None:
        """Wait for what is under way; cancel what takes longer."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=within_s)
        await self.cancel()

    async def cancel(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        await end(set(self._tasks))


async def _until_set(stopping: asyncio.Event) -> None:
    await stopping.wait()


async def until_first(stopping: asyncio.Event, *work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until `stopping` is set or one of it ends; raise what it raised. The others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in (_until_set(stopping), *work)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(set(tasks))


async def end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended. Once is not enough: `asyncio.wait_for`, which redis-py uses for every command,
    swallows a cancellation that comes as its work completes (python/cpython#86296; mended in Python 3.12).
    """
    while pending := {task for task in tasks if not task.done()}:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.1)
    await asyncio.gather(*tasks, return_exceptions=True)
