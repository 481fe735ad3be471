"""CloudEvents 1.0, read by rules, whatever carried them: structured (one JSON document) or binary (attributes beside the data).

{"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.placed", "data": {"order": 7}}
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runtime.authoring.errors import OnCueError
from runtime.authoring.event import Event
from triggers.strict_json import InvalidJsonError, read_json

#: The media type of a structured event in JSON (CloudEvents JSON format, section 3).
STRUCTURED = "application/cloudevents+json"

#: Attributes that an event must have; each has a name of its own among headers, so one of them tells binary mode.
REQUIRED = ("id", "source", "specversion", "type")
_OPTIONAL = ("datacontenttype", "dataschema", "subject", "time")
_NAME = re.compile(r"[a-z0-9]+")
# RFC 3986, section 2; a URI-reference may be relative
_URI = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*;.*)?")
# RFC 3339, section 5.6
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.IGNORECASE | re.ASCII)
# CloudEvents 1.0.2, section 3.2: control characters and noncharacters are no part of a String
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Received:
    """One event as it came: its data is JSON in `event`, or bytes in `blob`."""

    event: Event
    blob: bytes | None = None


class InvalidEventError(OnCueError):
    """What claims to be a CloudEvent is none: (JSON pointer within the event, message) for all that is wrong."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__(f"it is no CloudEvent: {'; '.join(' '.join(each).strip() for each in found[:10])}")
        self.found = found


def from_attributes(attributes: Mapping[str, Any], body: bytes) -> Received:
    """Read an event in binary mode: attributes by their own names, "datacontenttype" being the media type of `body`.

    Raises:
        InvalidEventError: it is none. InvalidJsonError: its data is not the JSON that it says it is.
    """
    if not body:
        return _received(attributes, None)
    if is_json(attributes.get("datacontenttype")):
        return _received(attributes, read_json(body))
    return _received(attributes, None, body)


def from_document(document: Any) -> Received:
    """Read an event in structured mode, from its JSON document.

    Raises:
        InvalidEventError: it is none.
    """
    if not isinstance(document, dict):
        raise InvalidEventError([("", "an event is a JSON object")])
    attributes = {name: value for name, value in document.items() if name not in ("data", "data_base64")}
    data, encoded = document.get("data"), document.get("data_base64")
    has_json = is_json(attributes.get("datacontenttype"))
    if encoded is None:
        # Text of another type is the data itself (JSON event format, section 3.1), as it would be in binary mode.
        if isinstance(data, str) and not has_json:
            return _received(attributes, None, data.encode())
        return _received(attributes, data)
    if data is not None:
        raise InvalidEventError([("/data_base64", "stands beside data; an event has one of them")])
    try:
        blob = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else None
    except (binascii.Error, ValueError):
        blob = None
    if blob is None:
        raise InvalidEventError([("/data_base64", "is no base64 text")])
    if attributes.get("datacontenttype") is None or not has_json:
        return _received(attributes, None, blob)
    try:
        return _received(attributes, read_json(blob))
    except InvalidJsonError as error:
        raise InvalidEventError([("/data_base64", str(error))]) from None


def is_json(content_type: Any) -> bool:
    """Tell whether data of this media type is JSON; without a type it is (JSON event format, section 3.1)."""
    if not isinstance(content_type, str):
        return True
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in ("", "application/json", "text/json") or media_type.endswith("+json")


def _received(attributes: Mapping[str, Any], data: Any, blob: bytes | None = None) -> Received:
    """Build an event of its attributes, or say all that is wrong with them."""
    wrong: list[tuple[str, str]] = []
    present = {name: value for name, value in attributes.items() if value is not None}
    wrong += ((f"/{name}", "is required") for name in REQUIRED if name not in present)
    for name, value in present.items():
        problem = _problem(name, value)
        if problem:
            wrong.append(("/" + name[:100].replace("~", "~0").replace("/", "~1"), problem))
    if wrong:
        raise InvalidEventError(wrong)
    extensions = {name: value for name, value in present.items() if name not in (*REQUIRED, *_OPTIONAL)}
    if "dataschema" in present:
        extensions["dataschema"] = present["dataschema"]
    event = Event(
        id=present["id"],
        source=present["source"],
        type=present["type"],
        time=_moment(present["time"]) if "time" in present else datetime.now(UTC),
        data=data,
        subject=present.get("subject"),
        content_type=present.get("datacontenttype") if blob is not None else None,
        extensions=extensions,
    )
    return Received(event, blob)


def _problem(name: str, value: Any) -> str:  # one line a rule
    if not _NAME.fullmatch(name) or name == "data":
        return "is no name of an attribute; it takes the letters a-z and digits"
    if name in REQUIRED or name in _OPTIONAL:
        if not isinstance(value, str) or not value:
            return "must be a text that is not empty"
    elif not isinstance(value, str):
        # 1.0 is no Integer of the type system, and True is one to Python.
        is_integer = type(value) is int and -(2**31) <= value < 2**31
        return "" if isinstance(value, bool) or is_integer else "must be a text, a boolean or a 32-bit integer"
    if _NO_TEXT.search(value):
        return "holds control characters"
    if name == "specversion" and value != "1.0":
        return "must be 1.0"
    if name in ("source", "dataschema") and not _URI.fullmatch(value):
        return "is no URI"
    if name == "dataschema" and not _ABSOLUTE.match(value):
        return "must be an absolute URI"
    if name == "datacontenttype" and not _MEDIA_TYPE.fullmatch(value):
        return "is no media type"
    if name == "time" and _moment(value) is None:
        return "is no RFC 3339 time; write it like 2026-01-31T09:00:00Z"
    return ""


def _moment(text: str) -> Any:
    if not _TIME.fullmatch(text):
        return None
    # A leap second is a time that Python cannot hold.
    text = text.upper().replace(":60", ":59", 1) if text[17:19] == "60" else text.upper()
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
