"""Values of AMQP's properties and headers: as JSON, and as pika can send them on.

{"at": datetime(…), "rate": 0.5, "sum": Decimal("1.20"), "raw": b"\\xff"}
    as JSON       {"at": "2026-01-01T00:00:00+00:00", "rate": 0.5, "sum": "1.20", "raw": "\\ufffd"}
    to send on    the same, with "rate" as text: pika cannot write floats
"""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pika  # type: ignore[import-untyped]  # it comes without types

#: Bytes of headers that are kept of a dead letter; properties must fit into one frame, of 128 KiB as a rule.
MAX_KEPT = 96 * 1024
#: Tables and lists within one another that are read; deeper ones become this text.
MAX_DEPTH = 32
TOO_DEEP = "…"


def read_all_values() -> None:
    """Have pika read every value that a header may have.

    pika 1.4 raises ValueError for a timestamp beyond the year 9999 (milliseconds in a field of seconds are a common
    mistake), and the connection is gone: the message comes again and again, with all that was sent ahead behind it.
    It loses the connection in the same way over some hundred tables within one another. Of floats it reads the whole part
    only.
    """
    strict = pika.data.decode_value
    if strict.__module__ == __name__:
        return
    depth = 0

    def decode_value(encoded: bytes, offset: int) -> tuple[Any, int]:
        nonlocal depth
        kind, start = encoded[offset : offset + 1], offset + 1
        if kind in (b"F", b"A"):
            if depth == MAX_DEPTH:
                return TOO_DEEP, start + 4 + int.from_bytes(encoded[start : start + 4])
            depth += 1
            try:
                return strict(encoded, offset)  # type: ignore[no-any-return]  # as above
            finally:
                depth -= 1
        if kind == b"T":
            (seconds,) = struct.unpack_from(">Q", encoded, start)
            return moment(seconds) or str(seconds), start + 8
        if kind in (b"f", b"d"):
            layout = f">{kind.decode()}"
            return struct.unpack_from(layout, encoded, start)[0], start + struct.calcsize(layout)
        return strict(encoded, offset)  # type: ignore[no-any-return]  # as above

    pika.data.decode_value = decode_value


def as_json(value: Any) -> Any:
    """Return a header's value as JSON."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, dict):
        return {text(name): as_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_json(each) for each in value]
    if isinstance(value, bool | float) or value is None:
        return value
    return int(value) if isinstance(value, int) else str(value)  # pika reads 64-bit integers as a subclass of its own


def to_send_on(headers: dict[str, Any]) -> dict[str, Any]:
    """Return the headers of a message for its dead letter: in values that pika can write, or none when they are too many."""
    kept = {name: _writable(value) for name, value in headers.items()}
    return kept if pika.data.encode_table([], kept) <= MAX_KEPT else {}


def text(value: str | bytes | None) -> str | None:
    """Return a property, or a header's name; pika leaves those that are no UTF-8 as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def moment(seconds: int | None) -> datetime | None:
    """Return a property's time; None also for what is none."""
    # Some producers write milliseconds into this field of seconds; then the moment of arrival is closer to the truth.
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _writable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _writable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_writable(each) for each in value]
    is_known = isinstance(value, str | bytes | bool | Decimal | datetime) or value is None
    return value if is_known or (isinstance(value, int) and -(2**63) <= value < 2**63) else str(value)
