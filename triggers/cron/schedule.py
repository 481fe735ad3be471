"""A schedule of a deployed function, and the event of each of its slots.

{"id": "daily_report:4be1a0c2@2026-03-09T08:00:00+00:00", "source": "cron:daily_report", "type": "oncue.cron",
 "subject": "daily_report:4be1a0c2", "time": "2026-03-09T08:00:00+00:00",
 "data": {"scheduled_for": "2026-03-09T08:00:00+00:00", "schedule": "0 9 * * MON-FRI"}}
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from runtime.authoring import schedule as authoring
from runtime.authoring.event import Event
from runtime.authoring.triggers import CronTrigger
from runtime.ledger.keys import new_id
from runtime.ledger.schedules import Policy, Row, slot_id
from runtime.versions.catalog import Catalog, Function

#: Enough digits to tell any two intervals up to a year apart; what is written shorter stays as it is.
_SECONDS = ".11g"

_JSON = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule of one function, as it is deployed."""

    #: "<function>:<digest of expression and timezone>": the same through deploys, until one of these changes
    id: str
    trigger: CronTrigger
    function: Function

    @classmethod
    def of(cls, trigger: CronTrigger, function: Function) -> Schedule:
        what = f"{trigger.expression} {trigger.timezone}" if trigger.expression else f"every {trigger.every_s:{_SECONDS}}"
        digest = hashlib.sha256(what.encode()).hexdigest()[:8]
        return cls(f"{function.name}:{digest}", trigger, function)

    @property
    def queue(self) -> str:
        return self.function.manifest.options.queue

    @property
    def text(self) -> str:
        """How it is written: "0 9 * * MON-FRI", "every 30s"."""
        return self.trigger.expression or f"every {self.trigger.every_s:{_SECONDS}}s"

    @property
    def policy(self) -> Policy:
        function, trigger = self.function, self.trigger
        return Policy(
            function=function.name,
            version=function.version,
            catch_up=trigger.catch_up,
            max_catch_up=trigger.max_catch_up,
            overlap=trigger.overlap,
            candidate=function.candidate or "",
            percent=function.percent,
        )

    def jitter_ms(self, slot_ms: int) -> int:
        """Return by how much a slot is put off: chosen by the slot, so that all schedulers choose alike."""
        digest = hashlib.sha256(f"jitter {self.id} {slot_ms}".encode()).digest()[:8]
        return int.from_bytes(digest) % (round(self.trigger.jitter_s * 1000) + 1)

    def row(self, slot_ms: int) -> Row:
        """Return what is accepted for a slot."""
        event = self._event(slot_ms, f"{self.id}@{moment(slot_ms).isoformat()}")
        due_ms = slot_ms + self.jitter_ms(slot_ms)
        invocation_id, place = slot_id(self.queue, self.id, slot_ms), self.function.place_of(event.id)
        return Row(slot_ms, due_ms, invocation_id, f"cron:{event.id}", _document(event), place)

    def row_by_hand(self, now_ms: int) -> Row:
        """Return what is accepted for "fire now"; its event says that it is of this moment."""
        invocation_id = new_id(self.queue)
        event, place = self._event(now_ms, invocation_id), self.function.place_of(invocation_id)
        return Row(0, 0, invocation_id, invocation_id, _document(event), place)

    def _event(self, slot_ms: int, event_id: str) -> Event:
        time = moment(slot_ms)
        return Event(
            id=event_id,
            source=f"cron:{self.function.name}",
            type="oncue.cron",
            time=time,
            subject=self.id,
            data=authoring.event_data(time.isoformat(), self.text),
        )


def declared(catalog: Catalog) -> dict[str, Schedule]:
    """Return every schedule that is deployed, by id."""
    schedules = [
        Schedule.of(trigger, function)
        for function in catalog.functions.values()
        for trigger in function.manifest.triggers_of(CronTrigger)
    ]
    return {schedule.id: schedule for schedule in schedules}


def moment(ms: int) -> datetime:
    """Return the aware UTC datetime of a number of milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def _document(event: Event) -> str:
    return _JSON(event.document()).decode()
