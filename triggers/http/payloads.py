"""From a request's body and query to an event's data: JSON fills parameters by name, anything else is one of them, raw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from triggers.http.answers import ProblemError, encode_json
from triggers.http.bodies import read_json
from triggers.http.query import as_data, read_fields
from triggers.http.targets import Target

_FORM = b"application/x-www-form-urlencoded"


class Payload(NamedTuple):
    """The data of an event."""

    #: the value, for those who look into it
    value: Any
    #: the same as JSON, as it came where it came as JSON
    data: bytes
    #: a raw body, and its media type
    blob: bytes | None = None
    media_type: bytes | None = None


def media_type_of(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the media type without its parameters, in lower case; empty when none is given."""
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


def read_payload(target: Target, headers: Mapping[bytes, bytes], body: bytes, fields: Sequence[tuple[str, str]]) -> Payload:
    """Return the data that a body and the fields of a query make for a function; not checked against its schema.

    Raises:
        ProblemError: 400 for what cannot be read, 415 when the function takes no body of this kind.
    """
    if not body:
        value = as_data(fields, target.manifest.input_schema)
        return Payload(value, encode_json(value))
    if headers.get(b"content-type") == b"application/json":  # nearly always, and then there is nothing to take apart
        return Payload(read_json(body), body)
    media_type = media_type_of(headers)
    takes_blob = target.manifest.blob_parameter is not None
    if media_type == b"application/json" or media_type.endswith(b"+json") or not (media_type or takes_blob):
        check_charset(headers)
        return Payload(read_json(body), body)
    if takes_blob:
        value = as_data(fields, target.manifest.input_schema)
        return Payload(value, encode_json(value), body, media_type or b"application/octet-stream")
    if media_type == _FORM and body[:1] not in (b"{", b"["):
        value = as_data([*fields, *read_fields(body)], target.manifest.input_schema)
        return Payload(value, encode_json(value))
    cure = "its content looks like JSON: send Content-Type: application/json" if body[:1] in (b"{", b"[") else "send JSON"
    raise ProblemError(
        415,
        "unsupported-media-type",
        f"{target.name!r} takes no raw body, and this one is {media_type.decode('latin-1')}; {cure}",
        headers=[(b"accept-post", b"application/json")],
    )


def check_charset(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a JSON text whose Content-Type names another charset than UTF-8."""
    _, _, parameters = headers.get(b"content-type", b"").lower().partition(b"charset=")
    charset = parameters.partition(b";")[0].strip(b' "')
    if charset not in (b"", b"utf-8", b"utf8", b"us-ascii"):
        raise ProblemError(415, "unsupported-media-type", "JSON is read as UTF-8 only (RFC 8259, section 8.1); send it as that")
