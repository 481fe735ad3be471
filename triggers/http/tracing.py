"""W3C Trace Context: who called, validated and carried to the invocation."""

from __future__ import annotations

from collections.abc import Mapping

from triggers.http.answers import encode_json

_HEX = b"0123456789abcdef"
#: Longest tracestate that is carried (W3C Trace Context, section 3.3.1.5 asks for at least 512).
_MAX_STATE = 512


def trace_fields(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the record's `trace` field for a request; empty when the caller sent no valid context.

    An invalid traceparent is dropped with its tracestate, as section 4.3 of the specification asks.
    """
    given = headers.get(b"traceparent")
    parent = "" if given is None else _read(given)
    if not parent:
        return {}
    trace = {"traceparent": parent}
    state = headers.get(b"tracestate", b"").strip()
    if 0 < len(state) <= _MAX_STATE and state.isascii() and state.decode().isprintable():
        trace["tracestate"] = state.decode()
    return {"trace": encode_json(trace).decode()}


def _read(parent: bytes) -> str:
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
