"""Tells callback URLs of the ends of their invocations, until they have heard or the tries are used up.

The script that writes the end puts the invocation into its queue's set of callbacks. `call_back.lua` hands out what is due
and, in the same step, puts it back for its next try: so whatever dies, and whenever, the next try comes. Only a good answer,
a 410 or the last try takes it out. Several web processes share the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import structlog

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import CALLBACKS, QueueKeys, queue_of
from runtime.ledger.wire import LedgerUnavailableError
from triggers.http.answers import encode_json
from triggers.http.callbacks.sending import CallbackError, Sender
from triggers.http.documents import rfc3339, status_document

#: Seconds between one try and the next: nine tries within a day and a quarter. Each exceeds the time that a try may take.
DELAYS_S = (30.0, 120.0, 600.0, 1800.0, 3600.0, 10800.0, 28800.0, 57600.0)
#: Callbacks on their way at once.
MOST_AT_ONCE = 32
#: Seconds between two looks when nothing rings.
LOOK_S = 30.0


class Deliverer:
    """Delivers the callbacks of all queues; belongs to one event loop."""

    def __init__(self, ledger: AsyncLedger, sender: Sender, *, delays_s: Sequence[float] = DELAYS_S) -> None:
        self._ledger = ledger
        self._sender = sender
        self._delays_ms = [int(delay_s * 1000) for delay_s in delays_s]
        self._under_way: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("oncue.callbacks")

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; what is on its way is tried again later, here or elsewhere."""
        tasks = [task for task in (self._task, *self._under_way) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        with self._ledger.news.bell(CALLBACKS) as bell:
            while True:
                bell.clear()
                try:
                    wait_s = await self._begin_due(bell)
                except LedgerUnavailableError:
                    wait_s = 1.0
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await bell.wait()

    async def _begin_due(self, bell: asyncio.Event) -> float:
        """Begin what is due; return the seconds until something else is."""
        next_s = LOOK_S
        for queue in await self._ledger.queues():
            free = MOST_AT_ONCE - len(self._under_way)
            if free <= 0:
                return LOOK_S  # the first that ends rings the bell
            next_ms, *due = await self._ledger.reads.run("call_back", QueueKeys(queue).base, free, *self._delays_ms)
            if next_ms >= 0:
                next_s = min(next_s, next_ms / 1000)
            for id, url, number in due:
                task = asyncio.create_task(self._deliver(id.decode(), url.decode(), number))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
                task.add_done_callback(lambda _: bell.set())
        return next_s

    async def _deliver(self, invocation_id: str, url: str, number: int) -> None:
        log = self._log.bind(invocation=invocation_id, number=number)
        try:
            record = await self._ledger.get(invocation_id)
            if record is None:
                return
            document = {
                "type": f"invocation.{record.status}",
                "timestamp": rfc3339(record.ended_ms),
                "data": status_document(record),
            }
            status = await self._sender.send(url, invocation_id, encode_json(document))
            if not (200 <= status < 300 or status == 410):
                raise CallbackError(f"the answer was {status}", answer=status)  # noqa: TRY301  # one place decides what it means
            await self._note(invocation_id, state="gone" if status == 410 else "told", answer=status)
        except CallbackError as error:
            is_last = number > len(self._delays_ms)
            log.warning("a callback failed", is_last=is_last, reason=str(error))
            state = "given_up" if is_last else "waiting"
            with contextlib.suppress(LedgerUnavailableError):
                await self._note(invocation_id, state=state, answer=error.answer, reason=str(error))
        except LedgerUnavailableError:
            log.warning("a callback will be tried again, since Redis went away")

    async def _note(self, invocation_id: str, *, state: str, **found: Any) -> None:
        told = encode_json({"state": state, "at_ms": int(time.time() * 1000), **found})
        base = QueueKeys(queue_of(invocation_id) or "").base
        await self._ledger.reads.run("called_back", base, invocation_id, told, int(state != "waiting"))
