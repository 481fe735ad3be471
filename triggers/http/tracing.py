"""W3C Trace Context: who called, validated and carried to the invocation."""

from __future__ import annotations

import re
from collections.abc import Mapping

from triggers.http.answers import encode_json

_HEX = b"0123456789abcdef"
#: Characters of a tracestate that are carried; of a longer one whole members are left out (section 3.3.1.5).
_MAX_STATE = 512
#: Members of one, and the characters of those that are left out first.
_MAX_MEMBERS = 32
_LONG_MEMBER = 128
# Section 3.3.1.3: a key, or tenant@system, and a value of printable ASCII without "," and "=" that does not end in a space.
_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)


def trace_fields(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the record's `trace` field for a request; empty when the caller sent no valid context.

    An invalid traceparent, as two are, is dropped with its tracestate; an invalid tracestate is dropped as a whole
    (section 4.3 of the specification).
    """
    given = headers.get(b"traceparent")
    parent = "" if given is None else _read_parent(given)
    if not parent:
        return {}
    trace = {"traceparent": parent}
    if state := _read_state(headers.get(b"tracestate", b"").decode("latin-1")):
        trace["tracestate"] = state
    return {"trace": encode_json(trace).decode()}


def _read_state(text: str) -> str:
    members = [member for each in text.split(",") if (member := each.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    if len(keys) != len(members) or len(members) > _MAX_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return ""
    if len(",".join(members)) > _MAX_STATE:
        members = [member for member in members if len(member) <= _LONG_MEMBER]
    while len(",".join(members)) > _MAX_STATE:
        members.pop()
    return ",".join(members)


def _read_parent(parent: bytes) -> str:
    """Return a traceparent as version 00 has it; empty when it is none. Of a later version, what 00 knows is kept."""
    parts = parent.split(b"-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2]:
        return ""
    version, trace_id, span_id, flags = parts[:4]
    if (version + trace_id + span_id + flags).translate(None, _HEX) or version == b"ff":
        return ""
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return ""
    if version == b"00":
        return parent.decode() if len(parts) == 4 else ""
    return f"00-{trace_id.decode()}-{span_id.decode()}-{int(flags, 16) & 1:02x}"
