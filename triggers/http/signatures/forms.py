"""JSON that comes as a field of a form: `payload=%7B%22action%22…`, as GitHub and Slack send it."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from triggers.http.signatures.scheme import Signed

FORM = b"application/x-www-form-urlencoded"


def is_form(signed: Signed) -> bool:
    """Tell whether the body is an urlencoded form."""
    return signed.headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == FORM


def read_form(body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields of a form as the bytes they stand for: nothing here needs them to be text."""
    pairs = (field.partition(b"=") for field in body.split(b"&") if field)
    return [(_decode(name), _decode(value)) for name, _, value in pairs]


def payload_of(signed: Signed) -> bytes | None:
    """Return the JSON text of the field `payload`, when the body is a form with that one field."""
    if not is_form(signed) or not signed.body.startswith(b"payload=") or b"&" in signed.body:
        return None
    return _decode(signed.body.removeprefix(b"payload="))


def _decode(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
