"""The scheduler of one process: APScheduler wakes it when a slot is due by Redis's clock, the ledger decides.

Any number of these may run. None leads, none holds a lock, and nothing that counts is kept in memory: killing one loses
nothing, and a slot that all of them see is accepted once. The local clock only says how long to sleep; Redis's clock is
asked every few seconds, so a local clock that is wrong or set by an hour changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import redis.asyncio
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler  # type: ignore[import-untyped]  # it comes without types
from apscheduler.triggers.base import BaseTrigger  # type: ignore[import-untyped]  # as above

from runtime.ledger.news import News
from runtime.ledger.reads import Reads
from runtime.ledger.records import FINAL
from runtime.ledger.schedules import LOOK_AT_LEAST_S, ScheduleLedger
from runtime.ledger.wire import LedgerUnavailableError
from runtime.versions.catalog import Catalog
from triggers.cron.looking import look
from triggers.cron.schedule import Schedule, declared
from triggers.cron.slots import slots

#: Seconds between two looks at the clocks.
BEAT_S = 2.0
#: Milliseconds after a slot at which it is looked at: a look that comes early has to come again.
MARGIN_MS = 2
#: How far a planned look may be off before it is planned anew: a clock was set.
TOLERANCE = timedelta(milliseconds=50)
#: Milliseconds after which a slot that is still undecided is looked at again.
OVERDUE_MS = 1000
#: Seconds between two tries to reach Redis: the first pause, the longest one.
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 2.0
#: Redis that has been back for so many seconds has recovered: the next pause is the first again.
STEADY_AFTER_S = 30.0

_NEVER_MS = 2**62


class LedgerClock:
    """Redis's clock, as known here: its last answer, carried on by the monotonic clock."""

    def __init__(self) -> None:
        self._ahead_ms = time.time() * 1000 - self._monotonic_ms()

    def now_ms(self) -> float:
        return self._monotonic_ms() + self._ahead_ms

    def told(self, now_ms: int) -> None:
        """Note what Redis's clock says now."""
        self._ahead_ms = now_ms - self._monotonic_ms()

    @staticmethod
    def _monotonic_ms() -> float:
        return time.monotonic() * 1000


class Watch(BaseTrigger):  # type: ignore[misc]  # as above
    """A schedule that is looked at, and the trigger that tells APScheduler when to do it next, by its own clock."""

    def __init__(self, schedule: Schedule, clock: LedgerClock) -> None:
        self.schedule = schedule
        #: where the last look left off, and the first slot that nobody has decided yet, by Redis's clock
        self.mark_ms: int | None = None
        self.due_ms = _NEVER_MS
        #: the invocation that slots wait for
        self.awaited: str | None = None
        self._clock = clock

    def decided(self, mark_ms: int | None) -> None:
        """Note up to where slots are decided."""
        if mark_ms is not None and mark_ms != self.mark_ms:
            self.mark_ms, self.due_ms = mark_ms, next(slots(self.schedule.trigger, mark_ms), _NEVER_MS)

    def is_overdue(self) -> bool:
        """Tell whether a slot waits for a look that should have been."""
        return self.due_ms < self._clock.now_ms() - OVERDUE_MS

    def plan(self, now: datetime) -> datetime:
        """Return the local time at which to look next; `now` is the local clock."""
        now_ms = self._clock.now_ms()
        # A slot that is due already is being looked at.
        slot_ms = self.due_ms if self.due_ms > now_ms else next(slots(self.schedule.trigger, int(now_ms)), _NEVER_MS)
        # Also where nothing is due for long, since the state must not expire.
        return now + timedelta(milliseconds=min(max(slot_ms - now_ms, 0) + MARGIN_MS, LOOK_AT_LEAST_S * 1000))

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return self.plan(now)


class CronEngine:
    """Watches all schedules of the catalog; belongs to one event loop."""

    def __init__(self, url: str) -> None:
        self._reads = Reads(url)
        self._ledger = ScheduleLedger(self._reads)
        # As in AsyncLedger: a subscription may be silent for ever.
        self._listener = redis.asyncio.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=5.0, health_check_interval=15, protocol=2
        )
        self._news = News(self._listener)
        self._clock = LedgerClock()
        self._watches: dict[str, Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_away = False
        self._pause_s, self._back_at = BACKOFF_MIN_S, -STEADY_AFTER_S
        self._is_listening = False
        self._log = structlog.get_logger("oncue.cron")
        # One look at a schedule at a time, however late; APScheduler says so in warnings, which tell nobody anything here.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    async def start(self) -> None:
        """Begin to watch what `serve` is given; returns at once, also while Redis is away."""
        self._scheduler.start()
        self._begin(self._beat())

    def serve(self, catalog: Catalog) -> None:
        """Watch the schedules of this catalog from now on, and no others."""
        schedules = declared(catalog)
        for schedule_id in self._watches.keys() - schedules.keys():
            del self._watches[schedule_id]
            self._scheduler.remove_job(schedule_id)
        for schedule_id, schedule in schedules.items():
            watch = self._watches.get(schedule_id)
            if watch is None or watch.schedule.queue != schedule.queue:
                watch = self._watches[schedule_id] = Watch(schedule, self._clock)
                self._scheduler.add_job(
                    self._look, watch, args=[watch], id=schedule_id, replace_existing=True, next_run_time=datetime.now(UTC)
                )
            elif watch.schedule != schedule:
                watch.schedule = schedule
                # What came due while the folder was being switched has waited for this.
                self._begin(self._look(watch))
        self._begin(self._adopt(schedules.values()))

    async def close(self) -> None:
        """Stop watching. What is being decided at this moment is decided or not; the next scheduler knows."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._news.close()
        await self._listener.aclose()
        await self._reads.close()

    async def _look(self, watch: Watch) -> None:
        schedule = watch.schedule
        try:
            state = await look(self._ledger, schedule, known_mark_ms=watch.mark_ms)
        except LedgerUnavailableError as error:
            self._away(error)
            return
        except Exception:  # noqa: BLE001  # a defect in one schedule must not stop the others
            self._log.exception("a schedule cannot be decided", schedule=schedule.id)
            return
        if state is None:
            return  # the folder was switched; the new catalog is on its way
        self._clock.told(state.now_ms)
        watch.decided(state.mark_ms)
        self._replan(watch)
        if state.waiting and state.last and state.last != watch.awaited:
            watch.awaited = state.last
            self._begin(self._look_after(watch, state.last))

    async def _look_after(self, watch: Watch, invocation_id: str) -> None:
        """Look again once an invocation is over: a slot waits for it."""
        if not self._is_listening:
            self._is_listening = True
            await self._news.start()
        try:
            with self._news.bell(invocation_id) as bell:
                status = await self._ledger.watch(watch.schedule.queue, invocation_id)
                while status is not None and status not in FINAL:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(bell.wait(), BEAT_S)
                    bell.clear()
                    status = await self._ledger.watch(watch.schedule.queue, invocation_id)
        except LedgerUnavailableError as error:
            watch.awaited = None
            self._away(error)
            return
        watch.awaited = None
        await self._look(watch)

    async def _adopt(self, schedules: Iterable[Schedule]) -> None:
        queues: dict[str, list[str]] = {}
        for schedule in schedules:
            queues.setdefault(schedule.queue, []).append(schedule.id)
        try:
            await self._ledger.adopt(queues)
        except LedgerUnavailableError as error:
            self._away(error)

    async def _beat(self) -> None:
        while True:
            try:
                self._clock.told(await self._ledger.now_ms())
            except LedgerUnavailableError as error:
                self._away(error)
            if not self._is_away:
                self._follow_clocks()
            await asyncio.sleep(BEAT_S)

    def _follow_clocks(self) -> None:
        """Plan every look anew whose time has moved, since one of the two clocks was set; make up for looks that failed."""
        for watch in list(self._watches.values()):
            if watch.is_overdue():
                self._begin(self._look(watch))
            else:
                self._replan(watch)

    def _replan(self, watch: Watch) -> None:
        job, now = self._scheduler.get_job(watch.schedule.id), datetime.now(UTC)
        # A look that is just due is not to be put off.
        if job is not None and min(abs(job.next_run_time - now), abs(job.next_run_time - watch.plan(now))) > TOLERANCE:
            job.modify(next_run_time=watch.plan(now))

    def _away(self, error: LedgerUnavailableError) -> None:
        """Stop looking until Redis answers again. What comes due meanwhile is found above the marks."""
        if self._is_away:
            return
        self._is_away = True
        # Redis that is out of memory answers and refuses in turns: that is told once, and looked at ever less often.
        if time.monotonic() - self._back_at > STEADY_AFTER_S:
            self._pause_s = BACKOFF_MIN_S
            self._log.warning("schedules wait until Redis is back", reason=str(error))
        self._scheduler.pause()
        self._begin(self._come_back())

    async def _come_back(self) -> None:
        while self._is_away:
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # spreads schedulers, guards nothing
            self._pause_s = min(self._pause_s * 2, BACKOFF_MAX_S)
            with contextlib.suppress(LedgerUnavailableError):
                self._clock.told(await self._ledger.now_ms())
                self._is_away = False
        self._back_at = time.monotonic()
        self._scheduler.resume()
        for watch in self._watches.values():
            self._begin(self._look(watch))
        if self._watches:
            self._begin(self._adopt([watch.schedule for watch in self._watches.values()]))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
