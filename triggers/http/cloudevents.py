"""CloudEvents 1.0 over HTTP: binary, structured and batched content (HTTP protocol binding 1.0.2, section 3).

Content-Type: application/cloudevents-batch+json    a JSON array of events
Content-Type: application/cloudevents+json          one event as JSON
ce-specversion: 1.0, ce-id: …, Content-Type: …      one event: attributes in headers, its data is the body
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from triggers.cloudevents import REQUIRED, InvalidEventError, Received, from_attributes, from_document, is_json
from triggers.http.answers import Header, ProblemError
from triggers.http.bodies import read_json
from triggers.http.payloads import check_charset, media_type_of
from triggers.strict_json import InvalidJsonError

#: Events in one batch.
MAX_BATCH = 100

Mode = Literal["binary", "structured", "batch"]

_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def mode_of(headers: Mapping[bytes, bytes]) -> Mode | None:
    """Tell how a request carries CloudEvents; None when it does not."""
    media_type = media_type_of(headers)
    if media_type.startswith(b"application/cloudevents-batch"):
        return "batch"
    if media_type.startswith(b"application/cloudevents"):
        return "structured"
    return "binary" if any(b"ce-" + name.encode() in headers for name in REQUIRED) else None


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
        return _all([functools.partial(from_document, document)], is_batch=False)
    if not isinstance(document, list):
        raise ProblemError(400, "invalid-event", "a batch is a JSON array of events")
    if len(document) > MAX_BATCH:
        raise ProblemError(413, "batch-too-large", f"a batch takes {MAX_BATCH} events, not {len(document)}; send several")
    return _all([functools.partial(from_document, each) for each in document], is_batch=True)


def _all(readers: Sequence[Callable[[], Received]], *, is_batch: bool) -> list[Received]:
    read: list[Received] = []
    errors: list[dict[str, str]] = []
    for index, reader in enumerate(readers):
        try:
            read.append(reader())
        except InvalidEventError as error:
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
        raise InvalidEventError(wrong)
    content_type = headers.get(b"content-type", b"").strip().decode("latin-1")
    if content_type:
        attributes["datacontenttype"] = content_type
    if body and is_json(content_type):
        check_charset(headers)
    try:
        return from_attributes(attributes, body)
    except InvalidJsonError as error:
        raise ProblemError(400, "invalid-json", str(error)) from None


def _header_text(value: bytes) -> str:
    """Decode a header's value: unquoted first, percent-decoded once, UTF-8 (HTTP binding, section 3.1.3.2)."""
    value = value.strip()
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = _ESCAPED.sub(rb"\1", value[1:-1])
    return unquote_to_bytes(value).decode()
