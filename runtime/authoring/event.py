"""What happened: the value behind every invocation, shaped like a CloudEvents 1.0 event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `(source, id)` names it uniquely (CloudEvents 1.0, section 3.1.1)."""

    #: unique within `source`
    id: str
    #: where it came from: "/v1/functions/thumbnail", "cron:daily_report", "rabbitmq://main/orders"
    source: str
    #: what kind of thing: "image.uploaded", "oncue.invoke", "oncue.cron"
    type: str
    #: when it happened, aware, UTC
    time: datetime
    #: the payload: JSON values, of which an object fills the handler's parameters by name; or bytes that no parameter takes
    data: Any = None
    #: what in `source` it is about, when the sender says so
    subject: str | None = None
    #: media type of a payload that came as bytes; None for JSON
    content_type: str | None = None
    #: CloudEvents extension attributes, and `http.*` facts of a webhook (method, path, query, headers)
    extensions: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Event:
        """Rebuild an event from its JSON document, as `document()` makes it."""
        time = document.get("time")
        return cls(
            id=document["id"],
            source=document["source"],
            type=document["type"],
            time=datetime.fromisoformat(time) if time else datetime.now(UTC),
            data=document.get("data"),
            subject=document.get("subject"),
            content_type=document.get("content_type"),
            extensions=document.get("extensions") or {},
        )

    def document(self) -> dict[str, Any]:
        """Return the JSON document of this event; absent attributes are left out."""
        document: dict[str, Any] = {
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": self.time.isoformat(),
            "data": self.data,
        }
        if self.subject is not None:
            document["subject"] = self.subject
        if self.content_type is not None:
            document["content_type"] = self.content_type
        if self.extensions:
            document["extensions"] = dict(self.extensions)
        return document
