"""From a message to an event, by the source's `format=`.

auto         a CloudEvent where the message says so; else JSON; else raw bytes, when the function takes them
json         JSON
cloudevents  a CloudEvent, structured or binary
bytes        raw bytes for the function's one `bytes` parameter
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from runtime.authoring.event import Event
from triggers.cloudevents import STRUCTURED, InvalidEventError, from_attributes, from_document, is_json
from triggers.queues.message import InvalidMessageError, Message
from triggers.strict_json import InvalidJsonError, read_json

#: The type of the event of a message that is no CloudEvent, and of a batch of messages.
QUEUE_EVENT = "oncue.queue"

#: Prefixes of CloudEvents attributes among headers: AMQP binding 3.1.3.1 (two spellings), Kafka binding 3.2.3.1, HTTP's.
_PREFIXES = ("cloudEvents:", "cloudEvents_", "ce_", "ce-")
_NO_TYPE = (None, "", "application/octet-stream")
#: Characters of headers that go into an event; the rest is left out, and CloudEvents attributes beyond it are refused.
MAX_HEADER_BYTES = 16 * 1024


class Read(NamedTuple):
    """A message that could be read."""

    event: Event
    blob: bytes | None
    #: what names the message when it comes again, from whichever listener
    identity: str | None


def read(message: Message, *, url: str, format: str, takes_blob: bool) -> Read:
    """Return the event of a message that came from `url`.

    Raises:
        InvalidMessageError: it is not what `format` says, or nothing the function takes.
    """
    attributes = _attributes(message.headers)
    is_structured = (message.content_type or "").partition(";")[0].strip().lower() == STRUCTURED
    if format == "cloudevents" or (format == "auto" and (is_structured or "specversion" in attributes)):
        return _cloud_event(message, url, {} if is_structured else attributes)
    data, blob = _data(message, format, takes_blob)
    event = Event(
        id=message.identity or str(uuid4()),
        source=url,
        type=QUEUE_EVENT,
        time=message.time or datetime.now(UTC),
        data=data,
        subject=message.subject,
        content_type=None if blob is None else message.content_type or "application/octet-stream",
        extensions=_extensions(message, url),
    )
    return Read(event, blob, message.identity)


def in_batch(found: Read) -> dict[str, Any]:
    """Return a message as an element of a batch's `messages`; raw bytes are base64."""
    event = found.event
    entry = {"id": event.id, "data": event.data, "time": event.time.isoformat(), "headers": event.extensions["queue.headers"]}
    if found.blob is not None:
        entry |= {"data": base64.b64encode(found.blob).decode(), "content_type": event.content_type}
    if event.subject is not None:
        entry["subject"] = event.subject
    if event.type != QUEUE_EVENT:
        entry |= {"source": event.source, "type": event.type}
    return entry


def _cloud_event(message: Message, url: str, attributes: dict[str, Any]) -> Read:
    size = sum(len(name) + len(str(value)) for name, value in attributes.items())
    if size > MAX_HEADER_BYTES:
        raise InvalidMessageError(f"its CloudEvents attributes have {size:,} characters; send at most {MAX_HEADER_BYTES:,}")
    try:
        if attributes:
            said = {"datacontenttype": message.content_type} if message.content_type else {}
            received = from_attributes({**attributes, **said}, message.body)
        else:
            received = from_document(_json(message.body))
    except (InvalidEventError, InvalidJsonError) as error:
        raise InvalidMessageError(str(error)) from error
    event = received.event
    extended = Event(
        id=event.id,
        source=event.source,
        type=event.type,
        time=event.time,
        data=event.data,
        subject=event.subject,
        content_type=event.content_type,
        extensions={**event.extensions, **_extensions(message, url)},
    )
    return Read(extended, received.blob, f"{event.source} {event.id}")


def _data(message: Message, format: str, takes_blob: bool) -> tuple[Any, bytes | None]:
    body, content_type = message.body, message.content_type
    if message.fields is not None:
        if format != "auto":
            raise InvalidMessageError(f"the entry has no field 'data', which format={format!r} reads")
        return dict(message.fields), None
    if format == "bytes":
        return {}, body
    if format == "json":
        return _json(body), None
    if not body:
        return None, None
    if content_type in _NO_TYPE:
        if not takes_blob:
            return _json(body), None
        try:
            data = _json(body)
        except InvalidMessageError:
            return {}, body
        return (data, None) if isinstance(data, dict) else ({}, body)
    assert content_type is not None
    if is_json(content_type):
        return _json(body), None
    if takes_blob:
        return {}, body
    raise InvalidMessageError(f"its content type is {content_type!r}, and the function takes no bytes; send JSON")


def _json(body: bytes) -> Any:
    try:
        return read_json(body)
    except InvalidJsonError as error:
        raise InvalidMessageError(str(error)) from error


def _attributes(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the CloudEvents attributes among headers, by their own names."""
    found = {}
    for name, value in headers.items():
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                found[name[len(prefix) :]] = value
    return found


def _extensions(message: Message, url: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    size = 0
    for name, value in message.headers.items():
        size += len(name) + len(str(value))
        if size > MAX_HEADER_BYTES:
            break
        kept[name] = value
    facts = {f"queue.{name}": value for name, value in message.facts.items()}
    return {"queue.source": url, "queue.headers": kept, **facts}
