"""A message as a listener hands it over, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from runtime.authoring.errors import OnCueError


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a source, the same whatever carried it."""

    body: bytes
    #: what names it when it is delivered again: an AMQP message id, a stream id, "topic-partition-offset@time"; None: nothing
    identity: str | None
    #: application headers, as JSON values
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str | None = None
    #: when it was sent, where the carrier tells; aware, UTC
    time: datetime | None = None
    #: the routing key, channel or key it came under
    subject: str | None = None
    #: a body that came as named texts (a stream entry without a field `data`)
    fields: Mapping[str, str] | None = None
    #: further facts for the event's extensions, by name
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: what the listener got, for its own dead letters
    original: Any = None

    @property
    def size(self) -> int:
        """Bytes of its data; of named texts, their characters."""
        return len(self.body) + sum(len(name) + len(value) for name, value in (self.fields or {}).items())


#: What became of a message that needs no more: each means that the source may forget it.
Settled = Literal["accepted", "duplicate", "filtered"]


class InvalidMessageError(OnCueError):
    """The message cannot be read, now or ever; the message of this error says why."""


class SourceAwayError(OnCueError):
    """The source cannot be reached, or went away; the listener is started again after a pause."""


class SourceRefusedError(OnCueError):
    """The source cannot be read as it is declared or configured; the message names the cure."""
