"""Connections and messages in librdkafka's words, and in ours."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from triggers.queues.message import Message

# librdkafka's own log lines; what matters of them reaches the report.
SILENT = logging.getLogger("oncue.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def settings(url: str) -> dict[str, Any]:
    """Read a connection: "host:9092,host:9092?security.protocol=sasl_ssl&sasl.username=…", in librdkafka's words."""
    servers, _, options = url.removeprefix("kafka://").partition("?")
    return {"bootstrap.servers": servers.rstrip("/"), **dict(parse_qsl(options))}


def message_of(raw: Any) -> Message:
    """Return librdkafka's message as ours."""
    headers = {name: _text(value) for name, value in headers_of(raw)}
    # The time keeps a topic that is made anew, and counts from 0 again, apart from the one before.
    _, milliseconds = raw.timestamp()
    key = raw.key()
    return Message(
        raw.value() or b"",
        f"{raw.topic()}-{raw.partition()}-{raw.offset()}@{milliseconds}",
        headers=headers,
        content_type=next((str(value) for name, value in headers.items() if name.lower() == "content-type"), None),
        time=_moment(milliseconds),
        subject=None if key is None else _text(key),
        facts={"topic": raw.topic(), "partition": raw.partition(), "offset": raw.offset()},
        original=raw,
    )


def headers_of(raw: Any) -> list[tuple[str, bytes | None]]:
    """Return a message's headers; none when a name is no UTF-8, which confluent-kafka cannot read."""
    try:
        return raw.headers() or []
    except UnicodeDecodeError:
        return []


def _text(value: bytes | str | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _moment(milliseconds: int) -> datetime | None:
    # A producer may write any number; then the moment of arrival is closer to the truth.
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None
