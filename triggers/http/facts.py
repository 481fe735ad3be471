"""The document of the event that a declared route makes of a request, with the facts of the request beside its data.

{"id": "msg_2Lh9…", "source": "/hooks/thing", "type": "oncue.http", "time": "2026-01-31T09:00:00+00:00",
 "extensions": {"http.method": "POST", "http.path": …, "http.query": {…}, "http.headers": {…}}, "data": …}
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from runtime.authoring.event import Event
from runtime.authoring.triggers import HttpTrigger
from triggers.http.answers import encode_json
from triggers.http.exchange import Exchange
from triggers.http.payloads import Payload

#: Request headers a handler never sees: they hold secrets of the caller.
_SECRET_HEADERS = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"x-gitlab-token"))
#: The query's field that holds one (bearer.py).
_SECRET_FIELD = "access_token"  # noqa: S105  # the name of a field, no secret itself
#: Bytes of headers that travel with an event.
_MAX_HEADER_BYTES = 8192


def without_secrets(query: list[tuple[str, str]], trigger: HttpTrigger) -> list[tuple[str, str]]:
    """Return the fields of a query that a handler may see."""
    return [field for field in query if field[0] != _SECRET_FIELD] if trigger.verify == "cloudevents" else query


def event_document(
    exchange: Exchange, trigger: HttpTrigger, payload: Payload, query: list[tuple[str, str]], id: str, event: Event | None
) -> bytes:
    """Return the document, as `runtime.authoring.event.Event.document` shapes it; the payload goes in as it came.

    `event`: the CloudEvent that the request carries; its attributes are the event's.
    """
    facts: dict[str, Any] = {"id": id, "source": exchange.path, "type": "oncue.http", "time": datetime.now(UTC).isoformat()}
    if event is not None:
        facts = event.document()
        del facts["data"]
    facts["extensions"] = {
        **facts.get("extensions", {}),
        "http.method": exchange.method,
        "http.path": exchange.path,
        "http.query": _query_document(query),
        "http.headers": _header_document(exchange.headers, (trigger.header or "").lower().encode()),
    }
    if payload.media_type is not None:
        facts["content_type"] = payload.media_type.decode("latin-1")
    return b'%s,"data":%s}' % (encode_json(facts)[:-1], payload.data)


def _query_document(query: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    found: dict[str, list[str]] = {}
    for name, text in query:
        found.setdefault(name, []).append(text)
    return {name: texts if len(texts) > 1 else texts[0] for name, texts in found.items()}


def _header_document(headers: Mapping[bytes, bytes], secret: bytes) -> dict[str, str]:
    kept: dict[str, str] = {}
    size = 0
    for name, value in headers.items():
        size += len(name) + len(value)
        if size > _MAX_HEADER_BYTES:
            break
        if name not in _SECRET_HEADERS and name != secret:
            kept[name.decode("latin-1")] = value.decode("latin-1")
    return kept
