"""CloudEvents 1.0, whichever way they come: structured (one JSON document) or binary (attributes beside the data).

{"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.placed", "data": {"order": 7}}
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from runtime.authoring.errors import OnCueError
from runtime.authoring.event import Event

#: The media type of a structured event in JSON (CloudEvents JSON format, section 3).
STRUCTURED = "application/cloudevents+json"

#: Reads JSON as strictly as its transport wants it.
ReadJson = Callable[[bytes], Any]

_OWN = frozenset(("specversion", "id", "source", "type", "time", "subject", "datacontenttype", "dataschema"))
_NAME = re.compile(r"[a-z0-9]+")


class CloudEventError(OnCueError):
    """What claims to be a CloudEvent is none; the message says why."""


class Arrived(NamedTuple):
    """An event as it came."""

    event: Event
    #: data that came as bytes
    blob: bytes | None


def from_document(document: Any) -> Arrived:
    """Read a structured event from its JSON document.

    Raises:
        CloudEventError: it is none.
    """
    if not isinstance(document, dict):
        raise CloudEventError(f"a CloudEvent is a JSON object, not {type(document).__name__}")
    attributes = {name: value for name, value in document.items() if name not in ("data", "data_base64") and value is not None}
    if "data_base64" not in document:
        return Arrived(_event(attributes, document.get("data")), None)
    if "data" in document:
        raise CloudEventError("a CloudEvent has data or data_base64, not both")
    try:
        blob = base64.b64decode(document["data_base64"], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise CloudEventError(f"data_base64 cannot be read: {error}") from error
    return Arrived(_event(attributes, {}), blob)


def from_attributes(attributes: Mapping[str, Any], content_type: str | None, body: bytes, read_json: ReadJson) -> Arrived:
    """Read a binary event: attributes without the prefix of their transport ("ce-", "ce_", "cloudEvents:"), and the data.

    Raises:
        CloudEventError: it is none.
        Exception: whatever `read_json` raises for data that is not the JSON it says it is.
    """
    given = {**attributes, "datacontenttype": content_type} if content_type else dict(attributes)
    if not body:
        return Arrived(_event(given, None), None)
    if content_type is not None and not is_json(content_type):
        return Arrived(_event(given, {}), body)
    return Arrived(_event(given, read_json(body)), None)


def is_json(content_type: str) -> bool:
    """Tell whether a media type, with or without parameters, is JSON."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _event(attributes: Mapping[str, Any], data: Any) -> Event:
    if attributes.get("specversion") != "1.0":
        raise CloudEventError(f"specversion is {attributes.get('specversion')!r}; only '1.0' is known")
    for name in ("id", "source", "type"):
        if not (isinstance(attributes.get(name), str) and attributes[name]):
            raise CloudEventError(f"the required attribute {name!r} is missing or no text (CloudEvents 1.0, section 3.1.1)")
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            raise CloudEventError(f"{name!r} is no attribute's name; names are lower-case letters and digits")
        if not isinstance(value, str | int | bool):
            raise CloudEventError(f"the attribute {name!r} must be text, a number or a boolean")
    content_type = attributes.get("datacontenttype")
    return Event(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        time=_time(attributes.get("time")),
        data=data,
        subject=_text(attributes, "subject"),
        content_type=None if content_type is None or is_json(str(content_type)) else str(content_type),
        extensions={name: value for name, value in attributes.items() if name not in _OWN or name == "dataschema"},
    )


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    if value is not None and not isinstance(value, str):
        raise CloudEventError(f"the attribute {name!r} must be text")
    return value


def _time(value: Any) -> datetime:
    if value is None:
        return datetime.now(UTC)
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise CloudEventError(f"time={value!r} is no RFC 3339 timestamp") from error
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
