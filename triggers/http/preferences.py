"""What a caller may ask of an invocation besides its data: to wait, to start later, and to be accepted once only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from runtime.authoring.quantities import seconds
from triggers.http.answers import ProblemError
from triggers.http.query import read_fields
from triggers.http.waiting import MAX_WAIT_S

#: The longest an invocation can be put off, seconds.
MAX_DELAY_S = 366 * 86400

_MAX_KEY_BYTES = 255
#: One of several preferences: commas part them, but for those in quotes.
_PREFERENCE = re.compile(rb'(?:[^,"]|"[^"]*"?)+')


def wait_asked(headers: Mapping[bytes, bytes]) -> int | None:
    """Return the seconds of `Prefer: wait=N` (RFC 7240, section 4.3), capped; None when it is not asked for."""
    prefer = headers.get(b"prefer")
    if prefer is None:
        return None
    for preference in _PREFERENCE.findall(prefer):
        name, _, value = preference.partition(b";")[0].partition(b"=")
        digits = value.strip(b' \t"')
        if name.strip().lower() == b"wait" and digits.isdigit():
            return min(int(digits[:9]), MAX_WAIT_S)
    return None


class Start(NamedTuple):
    """When an invocation starts: so many seconds from now, or at a moment (ms since 1970)."""

    delay_s: float = 0.0
    at_ms: int = 0


AT_ONCE = Start()


def read_query(query: bytes) -> tuple[Start, list[tuple[str, str]]]:
    """Split a query into `delay=` or `at=`, and the fields that belong to the function.

    Raises:
        ProblemError: 400, naming the parameter and how to write it.
    """
    start, fields = AT_ONCE, []
    for name, text in read_fields(query):
        if name not in ("delay", "at"):
            fields.append((name, text))
        elif start is not AT_ONCE:
            raise ProblemError(400, "invalid-query", "delay and at are both given, or twice; keep one")
        else:
            start = Start(delay_s=_delay(text)) if name == "delay" else Start(at_ms=int(moment(text, "at").timestamp() * 1000))
    return start, fields


def moment(text: str, name: str) -> datetime:
    """Read an RFC 3339 time that names its zone.

    Raises:
        ProblemError: 400, naming the parameter.
    """
    try:
        # "+" in a query is a space, and "+02:00" is what people write.
        value = datetime.fromisoformat(text.replace(" ", "+") if text[10:11] == "T" else text)
    except ValueError:
        value = None
    if value is None or value.tzinfo is None or not 1970 <= value.year <= 9998:
        raise ProblemError(400, "invalid-query", f"{name}={text[:100]!r} is no time; write it like 2026-01-31T09:00:00Z")
    return value


def _delay(text: str) -> float:
    try:
        delay_s = seconds(float(text) if text.isascii() and text.replace(".", "", 1).isdecimal() else text[:50])
    except ValueError as error:
        raise ProblemError(400, "invalid-query", f"delay: {error}") from None
    if delay_s > MAX_DELAY_S:
        raise ProblemError(400, "invalid-query", "delay is at most 366 days")
    return delay_s


class Once(NamedTuple):
    """What makes repeats of one request one invocation."""

    key: str = ""
    digest: str = ""
    fingerprint: str = ""


ANY_NUMBER = Once()


def once(headers: Mapping[bytes, bytes], caller: str, function: str, *parts: bytes) -> Once:
    """Return the dedupe of a request with an `Idempotency-Key`; `parts` are what must not differ between its repeats.

    Raises:
        ProblemError: 400: the key is empty, too long, or not printable ASCII.
    """
    given = headers.get(b"idempotency-key")
    if given is None:
        return ANY_NUMBER
    # Written as a structured string or bare (draft-ietf-httpapi-idempotency-key-header, section 2.1).
    key = given[1:-1] if len(given) > 1 and given[:1] == given[-1:] == b'"' else given
    if not 0 < len(key) <= _MAX_KEY_BYTES or not key.isascii() or not key.decode().isprintable():
        raise ProblemError(
            400, "invalid-idempotency-key", f"an Idempotency-Key is 1 to {_MAX_KEY_BYTES} printable ASCII characters"
        )
    return Once(key.decode(), digest(caller, function, key.decode()), _fingerprint(parts))


def digest(*names: str) -> str:
    """Return one name for several, none of which can pass for another."""
    return hashlib.sha256("\0".join(f"{len(name)}:{name}" for name in names).encode()).hexdigest()


def _fingerprint(parts: tuple[bytes, ...]) -> str:
    return hashlib.sha256(b"".join([b"%d:%b" % (len(part), part) for part in parts])).hexdigest()
