"""CloudEvents 1.0 over HTTP, read by rules: binary, structured and batched content (HTTP protocol binding 1.0.2, section 3).

Content-Type: application/cloudevents-batch+json    a JSON array of events
Content-Type: application/cloudevents+json          one event as JSON
ce-specversion: 1.0, ce-id: …, Content-Type: …      one event: attributes in headers, its data is the body
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from runtime.authoring.event import Event
from triggers.http.answers import Header, ProblemError
from triggers.http.bodies import read_json
from triggers.http.payloads import check_charset, media_type_of

#: Events in one batch.
MAX_BATCH = 100

Mode = Literal["binary", "structured", "batch"]

_REQUIRED = ("id", "source", "specversion", "type")
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
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Received:
    """One event as it came: its data is JSON in `event`, or bytes in `blob`."""

    event: Event
    blob: bytes | None = None


class _InvalidError(Exception):
    """Some attributes of one event are wrong: (pointer within the event, message) each."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__()
        self.found = found


def mode_of(headers: Mapping[bytes, bytes]) -> Mode | None:
    """Tell how a request carries CloudEvents; None when it does not."""
    media_type = media_type_of(headers)
    if media_type.startswith(b"application/cloudevents-batch"):
        return "batch"
    if media_type.startswith(b"application/cloudevents"):
        return "structured"
    return "binary" if any(b"ce-" + name.encode() in headers for name in _REQUIRED) else None


def read_events(mode: Mode, headers: Mapping[bytes, bytes], given: Iterable[Header], body: bytes) -> list[Received]:
    """Return the events of a request: all of them, or none. `given`: the headers as they came, one by one.

    Raises:
        ProblemError: 400 with a JSON pointer for each attribute that is wrong; 413 for too large a batch; 415 for a
            format other than JSON.
    """
    if mode == "binary":
        return _all([functools.partial(_from_headers, headers, given, body)], is_batch=False)
    _, _, suffix = media_type_of(headers).partition(b"+")
    if suffix not in (b"", b"json"):
        raise ProblemError(
            415,
            "unsupported-media-type",
            f"CloudEvents are read as JSON, not as {suffix.decode('latin-1')}",
            headers=[(b"accept-post", b"application/cloudevents+json, application/cloudevents-batch+json")],
        )
    check_charset(headers)
    document = read_json(body)
    if mode == "structured":
        return _all([functools.partial(_from_json, document)], is_batch=False)
    if not isinstance(document, list):
        raise ProblemError(400, "invalid-event", "a batch is a JSON array of events")
    if len(document) > MAX_BATCH:
        raise ProblemError(413, "batch-too-large", f"a batch takes {MAX_BATCH} events, not {len(document)}; send several")
    return _all([functools.partial(_from_json, each) for each in document], is_batch=True)


def _all(readers: Sequence[Callable[[], Received]], *, is_batch: bool) -> list[Received]:
    read: list[Received] = []
    errors: list[dict[str, str]] = []
    for index, reader in enumerate(readers):
        try:
            read.append(reader())
        except _InvalidError as error:
            prefix = f"/{index}" if is_batch else ""
            errors += ({"pointer": prefix + pointer, "message": message} for pointer, message in error.found)
    if errors:
        first = errors[0]
        detail = (
            f"{len(errors)} of its attributes are wrong, the first at {first['pointer'] or 'the event'}: {first['message']}"
        )
        raise ProblemError(400, "invalid-event", f"nothing was accepted: {detail}", errors=errors[:MAX_BATCH])
    return read


def _from_headers(headers: Mapping[bytes, bytes], given: Iterable[Header], body: bytes) -> Received:
    attributes: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    for name, value in given:
        if not name.startswith(b"ce-"):
            continue
        attribute = name[3:].decode("latin-1")
        if attribute in attributes:
            wrong.append((f"/{attribute}", "is given twice"))
        elif attribute == "datacontenttype":
            wrong.append((f"/{attribute}", "is the header Content-Type in binary mode"))
        try:
            attributes[attribute] = _header_text(value)
        except UnicodeDecodeError:
            wrong.append((f"/{attribute}", "is not UTF-8 once it is percent-decoded"))
            attributes[attribute] = "?"
    if wrong:
        raise _InvalidError(wrong)
    content_type = headers.get(b"content-type", b"").strip().decode("latin-1")
    if content_type:
        attributes["datacontenttype"] = content_type
    data: Any = None
    blob: bytes | None = None
    if body and _is_json(content_type):
        check_charset(headers)
        data = read_json(body)
    elif body:
        blob = body
    return _received(attributes, data, blob)


def _header_text(value: bytes) -> str:
    """Decode a header's value: unquoted first, percent-decoded once, UTF-8 (HTTP binding, section 3.1.3.2)."""
    value = value.strip()
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = _ESCAPED.sub(rb"\1", value[1:-1])
    return unquote_to_bytes(value).decode()


def _from_json(document: Any) -> Received:
    if not isinstance(document, dict):
        raise _InvalidError([("", "an event is a JSON object")])
    attributes = {name: value for name, value in document.items() if name not in ("data", "data_base64")}
    data, encoded = document.get("data"), document.get("data_base64")
    is_json = _is_json(attributes.get("datacontenttype"))
    if encoded is None:
        # Text of another type is the data itself (JSON event format, section 3.1), as it would be in binary mode.
        if isinstance(data, str) and not is_json:
            return _received(attributes, None, data.encode())
        return _received(attributes, data)
    if data is not None:
        raise _InvalidError([("/data_base64", "stands beside data; an event has one of them")])
    try:
        blob = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else None
    except (binascii.Error, ValueError):
        blob = None
    if blob is None:
        raise _InvalidError([("/data_base64", "is no base64 text")])
    if attributes.get("datacontenttype") is None or not is_json:
        return _received(attributes, None, blob)
    try:
        return _received(attributes, read_json(blob))
    except ProblemError as error:
        raise _InvalidError([("/data_base64", error.detail)]) from None


def _is_json(content_type: Any) -> bool:
    """Tell whether data of this type is JSON; without a type it is (JSON event format, section 3.1)."""
    if not isinstance(content_type, str):
        return True
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in ("", "application/json", "text/json") or media_type.endswith("+json")


def _received(attributes: Mapping[str, Any], data: Any, blob: bytes | None = None) -> Received:
    """Build an event of its attributes, or say all that is wrong with them."""
    wrong: list[tuple[str, str]] = []
    present = {name: value for name, value in attributes.items() if value is not None}
    wrong += ((f"/{name}", "is required") for name in _REQUIRED if name not in present)
    for name, value in present.items():
        problem = _problem(name, value)
        if problem:
            wrong.append((f"/{name[:100]}".replace("~", "~0"), problem))
    if wrong:
        raise _InvalidError(wrong)
    extensions = {name: value for name, value in present.items() if name not in (*_REQUIRED, *_OPTIONAL)}
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
    if name in _REQUIRED or name in _OPTIONAL:
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
