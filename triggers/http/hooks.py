"""Declared routes: what a provider sends becomes an invocation of the function that declared the path.

route → size and deadline → raw bytes → verify → filter → dedupe and accept (one script) → 202
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from runtime.authoring.event import Event
from runtime.authoring.triggers import HttpTrigger
from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import new_id
from runtime.ledger.records import Acceptance
from runtime.versions.filters import matches
from triggers.cloudevents import Received
from triggers.http.access.guard import Guard
from triggers.http.answers import JSON, Answer, Header, ProblemError, encode_json, json_answer
from triggers.http.bodies import read_body
from triggers.http.caching import twins_of
from triggers.http.callbacks.urls import Callbacks
from triggers.http.cloudevents import mode_of, read_events
from triggers.http.consent import consent
from triggers.http.documents import links, location
from triggers.http.exchange import Exchange
from triggers.http.facts import event_document, without_secrets
from triggers.http.payloads import Payload, read_payload
from triggers.http.preferences import Once, digest, once
from triggers.http.query import as_data, read_fields
from triggers.http.results import end_answer, open_answer
from triggers.http.routes import Route, RouteTable
from triggers.http.signatures import MisconfiguredError, Secret, Signed, Terms, Verified, verify
from triggers.http.signatures.certificates import Certificates
from triggers.http.targets import Target
from triggers.http.tracing import trace_fields
from triggers.http.waiting import MAX_WAIT_S, Waits

#: Gives a secret's value by its name, None when the host has none.
Secrets = Callable[[str], str | None]

#: What verifies who calls, and not what is said: these callers may name a callback URL, as those of a function may.
_KNOWN_CALLERS = (None, "basic", "api_key")


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One event that a request brings to a route."""

    payload: Payload
    #: the CloudEvent it came as
    event: Event | None = None
    #: the sender's own id of it
    id: str = ""


class Hooks:
    """Serves the declared routes."""

    def __init__(
        self,
        ledger: AsyncLedger,
        waits: Waits,
        secrets: Secrets,
        guard: Guard,
        callbacks: Callbacks,
        public_url: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._waits = waits
        self._secrets = secrets
        self._guard = guard
        self._callbacks = callbacks
        self._public_url = public_url
        self._certificates = Certificates()
        self._log = structlog.get_logger("oncue.http")

    async def serve(self, exchange: Exchange, routes: RouteTable) -> Answer:
        """Return the answer to a request for a declared route."""
        if exchange.method == "OPTIONS" and (answer := _declared_consent(exchange, routes)) is not None:
            return answer
        route, parameters = routes.match(exchange.method, exchange.scope["raw_path"])
        trigger, target = route.trigger, route.target
        await self._guard.admit_delivery(exchange, trigger, target.name)
        body = await read_body(exchange, target.max_body_bytes)
        verified = await self._verify(route, exchange, body)
        if verified.answer is not None:
            return verified.answer
        query = without_secrets(read_fields(exchange.scope["query_string"]), trigger)
        headers: Mapping[bytes, bytes] = exchange.headers
        if verified.document is not None:
            headers, body = {**headers, b"content-type": JSON}, verified.document
        mode = mode_of(headers)
        if mode is None and trigger.verify == "cloudevents":
            raise ProblemError(415, "unsupported-media-type", "this route takes CloudEvents: binary, structured or a batch")
        if mode is None:
            deliveries = [_Delivery(read_payload(target, headers, body, query), id=verified.delivery)]
        else:
            received = read_events(mode, headers, exchange.scope["headers"], body)
            deliveries = [_cloud_event(target, each, query) for each in received]
        deliveries = [_filled(each, parameters, target) for each in deliveries]
        wanted = [each for each in deliveries if matches(trigger.when, each.payload.value)]
        try:
            for index, each in enumerate(wanted):
                _check(target, each, index if mode == "batch" else None)
        except ProblemError:
            if not verified.is_trial:
                raise
            return json_answer(200, {"ignored": True})
        repeats = [_repeats(route, exchange, each, body) for each in wanted]
        more = self._more(exchange, trigger)
        acceptances = [_acceptance(route, exchange, each, own, query, more) for each, own in zip(wanted, repeats, strict=True)]
        if mode == "batch":
            return await self._accept_batch(acceptances, ignored=len(deliveries) - len(wanted))
        if not wanted:
            return json_answer(200, {"ignored": True})
        return await self._answer(route, acceptances[0], repeats[0])

    def _more(self, exchange: Exchange, trigger: HttpTrigger) -> dict[str, str]:
        more = trace_fields(exchange.headers)
        # Where the body is signed, anybody on the way could add a header: whoever it names would be told the result.
        if trigger.verify in _KNOWN_CALLERS and (callback := exchange.headers.get(b"oncue-callback-url")) is not None:
            more["callback"] = self._callbacks.read(callback)
        return more

    async def _verify(self, route: Route, exchange: Exchange, body: bytes) -> Verified:
        trigger, scope = route.trigger, exchange.scope
        secrets = [Secret(name, value) for name in trigger.secret if (value := self._secrets(name))]
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        signed = Signed(exchange.method, target, exchange.headers, body)
        try:
            return await verify(signed, Terms(trigger, secrets, time.time(), self._public_url, self._certificates))
        except MisconfiguredError as error:
            self._log.error("a route cannot verify its sender", route=trigger.path, reason=error.detail)
            raise

    async def _answer(self, route: Route, acceptance: Acceptance, repeats: Once) -> Answer:
        trigger, target = route.trigger, route.target
        if acceptance.watch:
            wait_s = min(target.manifest.options.timeout_s, MAX_WAIT_S)
            accepted, record = await self._waits.accept(acceptance, wait_s)
            if accepted.outcome == "cached":
                record = await self._waits.record(accepted.id, wait_s)
            if record is not None and record.is_final:
                mark = [] if accepted.outcome == "new" else [(b"oncue-cached", b"true")]
                return await end_answer(self._ledger, record, mark)
        else:
            accepted = await self._ledger.accept(acceptance)
        if accepted.outcome == "conflict":
            raise ProblemError(
                422, "idempotency-key-reused", f"the Idempotency-Key {repeats.key!r} came with another request before"
            )
        place = (b"location", location(accepted.id).encode())
        if trigger.response is not None:
            return _fixed(trigger.response, place)
        if accepted.outcome != "new":
            return json_answer(200, {"id": accepted.id, accepted.outcome: True, "links": links(accepted.id)}, [place])
        return open_answer(accepted.id, "queued", [])

    async def _accept_batch(self, acceptances: list[Acceptance], *, ignored: int) -> Answer:
        """Accept all; when that is cut short nothing is lost, since a repeat of the batch finds what was accepted."""
        accepted = await asyncio.gather(*(self._ledger.accept(each) for each in acceptances))
        invocations = [{"id": each.id} if each.outcome == "new" else {"id": each.id, each.outcome: True} for each in accepted]
        new = sum(each.outcome == "new" for each in accepted)
        counts = {"accepted": new, "duplicates": len(accepted) - new, "ignored": ignored}
        return json_answer(202, {**counts, "invocations": invocations})


def _declared_consent(exchange: Exchange, routes: RouteTable) -> Answer | None:
    route = routes.find("POST", exchange.scope["raw_path"])
    return consent(exchange.headers) if route is not None and route.trigger.verify == "cloudevents" else None


def _cloud_event(target: Target, received: Received, query: list[tuple[str, str]]) -> _Delivery:
    event, blob = received.event, received.blob
    if blob is not None and target.manifest.blob_parameter is None:
        raise ProblemError(
            415, "unsupported-media-type", f"{target.name!r} takes no bytes, and this event's data is {event.content_type}"
        )
    value = event.data
    if value is None:
        value = as_data(query, target.manifest.input_schema)
    media_type = (event.content_type or "application/octet-stream").encode("latin-1", "replace") if blob is not None else None
    return _Delivery(Payload(value, encode_json(value), blob, media_type), event, f"{event.source} {event.id}")


def _filled(delivery: _Delivery, parameters: Mapping[str, str], target: Target) -> _Delivery:
    """Put what the path says into the data."""
    payload = delivery.payload
    if not parameters:
        return delivery
    if type(payload.value) is not dict:
        raise ProblemError(400, "invalid-data", "the body must be a JSON object here, since the path fills some of its fields")
    value = {**payload.value, **as_data(parameters.items(), target.manifest.input_schema)}
    return _Delivery(payload._replace(value=value, data=encode_json(value)), delivery.event, delivery.id)


def _check(target: Target, delivery: _Delivery, index: int | None) -> None:
    payload = delivery.payload
    try:
        target.check(payload.value, has_blob=payload.blob is not None, refuse_unknown=False)
    except ProblemError as problem:
        if index is not None:
            problem.errors = [{**error, "pointer": f"/{index}/data{error['pointer']}"} for error in problem.errors]
        raise


def _repeats(route: Route, exchange: Exchange, delivery: _Delivery, body: bytes) -> Once:
    place = f"{route.trigger.method} {route.trigger.path}"
    if delivery.id:
        # A sender may send a delivery again with other bytes (a new timestamp): its id alone counts.
        return Once(delivery.id, digest(place, route.target.name, delivery.id), "")
    scope = exchange.scope
    return once(exchange.headers, place, route.target.name, scope["raw_path"], scope["query_string"], body)


def _acceptance(
    route: Route, exchange: Exchange, delivery: _Delivery, repeats: Once, query: list[tuple[str, str]], more: dict[str, str]
) -> Acceptance:
    target, payload = route.target, delivery.payload
    invocation_id = new_id(target.queue)
    version = target.function.version_for(repeats.key or invocation_id)
    return Acceptance(
        id=invocation_id,
        queue=target.queue,
        function=target.name,
        version=version,
        event=event_document(exchange, route.trigger, payload, query, delivery.id or invocation_id, delivery.event),
        blob=payload.blob,
        dedupe=repeats.digest,
        fingerprint=repeats.fingerprint,
        key=repeats.key,
        watch=route.trigger.respond == "result",
        more=more,
        cache=twins_of(target, payload, version) if "callback" not in more else "",
        cache_ttl_s=target.manifest.options.cache_s or 0.0,
    )


def _fixed(response: Mapping[str, Any], place: Header) -> Answer:
    """Return the answer that the route declares: {"status": 200, "body": "ok", "headers": {…}}."""
    body = response.get("body", b"")
    headers = {str(name).lower(): str(value) for name, value in (response.get("headers") or {}).items()}
    is_text = isinstance(body, str)
    media_type = headers.pop("content-type", "text/plain; charset=utf-8" if is_text else JSON.decode())
    content = body.encode() if is_text else encode_json(body) if body != b"" else b""
    own = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return Answer(int(response.get("status", 200)), content, media_type.encode("latin-1"), [*own, place])
