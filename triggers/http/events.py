"""`/v1/events`: events by name, as CloudEvents; what was published, which functions took it, which did not and why.

POST  202 {"accepted": 1, "duplicates": 0, "events": [{"id": "1", "source": "/camera", "key": "9f…", "duplicate": false,
           "subscribers": ["thumbnail"], "href": "/v1/events/9f…"}]}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from runtime.authoring.options import FunctionOptions
from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.events import EventRecord, Events
from runtime.versions.subscriptions import occurrence
from triggers.http.answers import Answer, Header, ProblemError, json_answer
from triggers.http.bodies import read_body
from triggers.http.cloudevents import mode_of, read_events
from triggers.http.consent import consent
from triggers.http.documents import rfc3339
from triggers.http.exchange import EXCHANGE, Exchange
from triggers.http.query import next_link, read_limit, read_names
from triggers.http.served import Served

#: Bytes of one request, as for a function that says nothing else.
MAX_BODY_BYTES: int = FunctionOptions.model_fields["max_body_bytes"].default

_ACCEPTED = b"application/cloudevents+json, application/cloudevents-batch+json"


class EventDesk:
    """The endpoints of events."""

    def __init__(self, ledger: AsyncLedger, served: Callable[[], Served]) -> None:
        self._events = Events(ledger)
        self._served = served

    def routes(self) -> list[Route]:
        """Return their routes."""
        return [
            Route("/v1/events", self.all, methods=["GET", "POST", "OPTIONS"]),
            Route("/v1/events/{key}", self.one, methods=["GET"]),
        ]

    async def all(self, request: Request) -> Answer:
        """Answer whatever is asked of all events."""
        if request.method == "OPTIONS":
            return consent(request.scope[EXCHANGE].headers, b"GET, HEAD, OPTIONS, POST")
        return await (self.publish(request) if request.method == "POST" else self.page(request))

    async def publish(self, request: Request) -> Answer:
        """Publish the events of a request; all of them, or none."""
        exchange: Exchange = request.scope[EXCHANGE]
        mode = mode_of(exchange.headers)
        body = await read_body(exchange, MAX_BODY_BYTES)
        if mode is None:
            raise ProblemError(
                415,
                "unsupported-media-type",
                "send a CloudEvent: Content-Type application/cloudevents+json, or its attributes in ce-… headers",
                headers=[(b"accept-post", _ACCEPTED)],
            )
        received = read_events(mode, exchange.headers, exchange.scope["headers"], body)
        catalog = self._served().catalog
        published = await self._events.publish([occurrence(catalog, each.event, blob=each.blob) for each in received])
        events = [
            {
                "id": each.event.id,
                "source": each.event.source,
                "key": told.key,
                "duplicate": told.outcome == "duplicate",
                "subscribers": told.functions,
                "href": f"/v1/events/{told.key}",
            }
            for each, told in zip(received, published, strict=True)
        ]
        new = sum(told.outcome == "new" for told in published)
        return json_answer(202, {"accepted": new, "duplicates": len(events) - new, "events": events})

    async def one(self, request: Request) -> Answer:
        """Answer one event with what each subscription said to it."""
        key = request.path_params["key"]
        record = await self._events.get(key)
        if record is None:
            raise ProblemError(404, "unknown-event", f"there is no event {key[:100]!r}; it may have expired")
        return json_answer(200, _document(record))

    async def page(self, request: Request) -> Answer:
        """Answer a page of events, newest first."""
        query = read_names(request, ("cursor", "limit"))
        limit, cursor = read_limit(query.get("limit")), query.get("cursor")
        try:
            records, following = await self._events.newest(cursor=cursor, limit=limit)
        except ValueError as error:
            raise ProblemError(400, "invalid-query", str(error)) from error
        headers: list[Header] = []
        if following:
            headers.append(next_link(request, query, following))
        return json_answer(200, {"events": [_document(record) for record in records], "next": following}, headers)


def _document(record: EventRecord) -> dict[str, Any]:
    return {
        "key": record.key,
        "published_at": rfc3339(record.published_ms),
        "event": record.document,
        "subscribers": [owed.function for owed in record.owed],
        "answers": [
            {"function": each.function, "pattern": each.pattern, "matched": each.matched, "why": each.why or None}
            for each in record.answers
        ],
        "href": f"/v1/events/{record.key}",
    }
