"""Declared routes: what a provider sends becomes an invocation of the function that declared the path.

route → size and deadline → raw bytes → verify → filter → dedupe and accept (one script) → 202
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from runtime.authoring.triggers import HttpTrigger
from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import new_id
from runtime.ledger.records import Acceptance
from triggers.http.answers import JSON, Answer, Header, ProblemError, encode_json, json_answer
from triggers.http.bodies import read_body
from triggers.http.documents import links, location
from triggers.http.exchange import Exchange
from runtime.versions.filters import matches
from triggers.http.payloads import Payload, read_payload
from triggers.http.preferences import Once, digest, once
from triggers.http.query import as_data, read_fields
from triggers.http.results import end_answer, open_answer
from triggers.http.routes import Route, RouteTable
from triggers.http.signatures import Signed, Verified, scheme_of
from triggers.http.targets import Target
from triggers.http.tracing import trace_fields
from triggers.http.waiting import MAX_WAIT_S, Waits

#: Request headers a handler never sees: they hold secrets of the caller.
_SECRET_HEADERS = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"x-gitlab-token"))
#: Bytes of headers that travel with an event.
_MAX_HEADER_BYTES = 8192

#: Gives a secret's value by its name, None when the host has none.
Secrets = Callable[[str], str | None]


class Hooks:
    """Serves the declared routes."""

    def __init__(self, ledger: AsyncLedger, waits: Waits, secrets: Secrets) -> None:
        self._ledger = ledger
        self._waits = waits
        self._secrets = secrets
        self._log = structlog.get_logger("oncue.http")

    async def serve(self, exchange: Exchange, routes: RouteTable) -> Answer:
        """Return the answer to a request for a declared route."""
        route, parameters = routes.match(exchange.method, exchange.scope["raw_path"])
        trigger, target = route.trigger, route.target
        body = await read_body(exchange, target.max_body_bytes)
        verified = self._verify(trigger, exchange, body)
        if verified.answer is not None:
            return verified.answer
        query = read_fields(exchange.scope["query_string"])
        payload = read_payload(target, exchange.headers, body, query)
        if parameters:
            payload = _filled(payload, parameters, target)
        if not matches(trigger.when, payload.value):
            return json_answer(200, {"ignored": True})
        target.check(payload.value, has_blob=payload.blob is not None, refuse_unknown=False)
        repeats = self._repeats(trigger, target, exchange, verified, body)
        acceptance = _acceptance(route, exchange, payload, repeats, verified, query)
        return await self._answer(trigger, target, acceptance, repeats)

    def _verify(self, trigger: HttpTrigger, exchange: Exchange, body: bytes) -> Verified:
        if trigger.verify is None:
            return Verified()
        scheme = scheme_of(trigger)
        secrets = [value for name in trigger.secret if (value := self._secrets(name))]
        if trigger.secret and not secrets:
            self._log.error("a route's secrets have no value on this host", route=trigger.path, secrets=trigger.secret)
            raise ProblemError(
                503, "verification-unavailable", "this route cannot verify its sender now", headers=[(b"retry-after", b"60")]
            )
        scope = exchange.scope
        signed = Signed(exchange.method, exchange.path, scope["query_string"], exchange.headers, body)
        return scheme(signed, secrets, trigger.tolerance_s, time.time())

    def _repeats(self, trigger: HttpTrigger, target: Target, exchange: Exchange, verified: Verified, body: bytes) -> Once:
        place = f"{trigger.method} {trigger.path}"
        if verified.delivery:
            # A sender may send a delivery again with other bytes (a new timestamp): its id alone counts.
            return Once(verified.delivery, digest(place, target.name, verified.delivery), "")
        scope = exchange.scope
        return once(exchange.headers, place, target.name, scope["raw_path"], scope["query_string"], body)

    async def _answer(self, trigger: HttpTrigger, target: Target, acceptance: Acceptance, repeats: Once) -> Answer:
        if acceptance.watch:
            wait_s = min(target.manifest.options.timeout_s, MAX_WAIT_S)
            accepted, record = await self._waits.accept(acceptance, wait_s)
            if record is not None:
                return await end_answer(self._ledger, record, [])
        else:
            accepted = await self._ledger.accept(acceptance)
        if accepted.outcome == "conflict":
            raise ProblemError(
                422, "idempotency-key-reused", f"the Idempotency-Key {repeats.key!r} came with another request before"
            )
        place = (b"location", location(accepted.id).encode())
        if trigger.response is not None:
            return _fixed(trigger.response, place)
        if accepted.outcome == "duplicate":
            return json_answer(200, {"id": accepted.id, "duplicate": True, "links": links(accepted.id)}, [place])
        return open_answer(accepted.id, "queued", [])


def _filled(payload: Payload, parameters: Mapping[str, str], target: Target) -> Payload:
    if type(payload.value) is not dict:
        raise ProblemError(400, "invalid-data", "the body must be a JSON object here, since the path fills some of its fields")
    value = {**payload.value, **as_data(parameters.items(), target.manifest.input_schema)}
    return payload._replace(value=value, data=encode_json(value))


def _acceptance(
    route: Route, exchange: Exchange, payload: Payload, repeats: Once, verified: Verified, query: list[tuple[str, str]]
) -> Acceptance:
    target = route.target
    invocation_id = new_id(target.queue)
    return Acceptance(
        id=invocation_id,
        queue=target.queue,
        function=target.name,
        version=target.function.version,
        event=_event(verified.delivery or invocation_id, exchange, payload, query),
        blob=payload.blob,
        dedupe=repeats.digest,
        fingerprint=repeats.fingerprint,
        key=repeats.key,
        watch=route.trigger.respond == "result",
        more=trace_fields(exchange.headers),
    )


def _event(event_id: str, exchange: Exchange, payload: Payload, query: list[tuple[str, str]]) -> bytes:
    """Return the document of the event, as `runtime.authoring.event.Event.document` shapes it; the body goes in as it came."""
    facts: dict[str, Any] = {
        "id": event_id,
        "source": exchange.path,
        "type": "oncue.http",
        "time": datetime.now(UTC).isoformat(),
        "extensions": {
            "http.method": exchange.method,
            "http.path": exchange.path,
            "http.query": _query_document(query),
            "http.headers": _header_document(exchange.headers),
        },
    }
    if payload.media_type is not None:
        facts["content_type"] = payload.media_type.decode("latin-1")
    return b'%s,"data":%s}' % (encode_json(facts)[:-1], payload.data)


def _query_document(query: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    found: dict[str, list[str]] = {}
    for name, text in query:
        found.setdefault(name, []).append(text)
    return {name: texts if len(texts) > 1 else texts[0] for name, texts in found.items()}


def _header_document(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    kept: dict[str, str] = {}
    size = 0
    for name, value in headers.items():
        size += len(name) + len(value)
        if size > _MAX_HEADER_BYTES:
            break
        if name not in _SECRET_HEADERS:
            kept[name.decode("latin-1")] = value.decode("latin-1")
    return kept


def _fixed(response: Mapping[str, Any], place: Header) -> Answer:
    """Return the answer that the route declares: {"status": 200, "body": "ok", "headers": {…}}."""
    body = response.get("body", b"")
    headers = {str(name).lower(): str(value) for name, value in (response.get("headers") or {}).items()}
    is_text = isinstance(body, str)
    media_type = headers.pop("content-type", "text/plain; charset=utf-8" if is_text else JSON.decode())
    content = body.encode() if is_text else encode_json(body) if body != b"" else b""
    own = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return Answer(int(response.get("status", 200)), content, media_type.encode("latin-1"), [*own, place])
