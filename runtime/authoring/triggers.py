"""What can make a function run, as plain checked values. They travel in the manifest as JSON."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from runtime.authoring import schedule
from runtime.authoring.declared import Declared, When
from runtime.authoring.routes import HttpTrigger
from runtime.authoring.sources import QueueTrigger

__all__ = ["CronTrigger", "EventTrigger", "HttpTrigger", "QueueTrigger", "Trigger", "is_event_type"]

_EVENT_TYPE = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_EVENT_PATTERN = re.compile(r"(?:[A-Za-z0-9_-]+|\*)(?:\.(?:[A-Za-z0-9_-]+|\*))*")


class CronTrigger(Declared):
    """A schedule: `@cron("*/5 * * * *", timezone="Europe/Paris")` or `@cron(every="30s")`."""

    kind: Literal["cron"] = "cron"
    #: five Vixie fields, or None when `every_s` is set; aliases like "@daily" are resolved
    expression: str | None = None
    every_s: float | None = None
    timezone: str = "UTC"
    catch_up: Literal["skip", "latest", "all"] = "skip"
    max_catch_up: Annotated[int, Field(ge=1, le=10_000)] = 100
    overlap: Literal["allow", "skip", "queue"] = "allow"
    jitter_s: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _aliases(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("expression"), str):
            text = " ".join(values["expression"].split())
            return {**values, "expression": schedule.ALIASES.get(text.lower(), text)}
        return values

    @model_validator(mode="after")
    def _can_fire(self) -> CronTrigger:
        if (self.expression is None) == (self.every_s is None):
            raise ValueError('a schedule is either an expression, like "0 9 * * MON-FRI", or every="30s"')
        if self.expression is not None:
            schedule.check_expression(self.expression)
        if self.every_s is not None and not 1 <= self.every_s <= 366 * 86400:
            raise ValueError(f"every={self.every_s:g}s is out of range; use 1 second to 366 days")
        schedule.check_timezone(self.timezone)
        schedule.check_jitter(self.jitter_s, self.expression, self.every_s)
        return self


class EventTrigger(Declared):
    """A subscription to events by name: `@on("image.uploaded")`, `@on("image.*")`."""

    kind: Literal["event"] = "event"
    #: dot-separated names; "*" stands for one name, or for all that follow when it is last
    type: str
    when: When | None = None

    @field_validator("type")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        if not _EVENT_PATTERN.fullmatch(value):
            raise ValueError(f"{value!r} is no event name; write it like 'image.uploaded' or 'image.*'")
        return value


Trigger = Annotated[HttpTrigger | CronTrigger | EventTrigger | QueueTrigger, Field(discriminator="kind")]


def is_event_type(value: str) -> bool:
    """Tell whether `value` can be the type of an emitted event."""
    return _EVENT_TYPE.fullmatch(value) is not None
