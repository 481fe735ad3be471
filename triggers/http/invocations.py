"""`/v1/invocations`: where an invocation stands, what it was given and what it returned, and lists of them."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from typing import get_args

from starlette.requests import Request
from starlette.routing import Route

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import given_ms
from runtime.ledger.records import Invocation, Status
from triggers.http.answers import Answer, Header, ProblemError, encode_json, json_answer
from triggers.http.documents import RETRY_AFTER, status_document
from triggers.http.exchange import EXCHANGE, Exchange
from triggers.http.preferences import moment, wait_asked
from triggers.http.query import next_link, read_limit, read_names
from triggers.http.results import end_answer, is_fresh, open_answer
from triggers.http.waiting import Waits

#: Seconds for which any invocation is kept at least, unless a person drops it (runtime/execution/verdicts.py).
SHORTEST_KEPT_S = 86400

_STATUSES = get_args(Status)


class Invocations:
    """The endpoints that read invocations."""

    def __init__(self, ledger: AsyncLedger, waits: Waits) -> None:
        self._ledger = ledger
        self._waits = waits

    def routes(self) -> list[Route]:
        """Return their routes."""
        return [
            Route("/v1/invocations", self.page, methods=["GET"]),
            Route("/v1/invocations/{id}", self.status, methods=["GET"]),
            Route("/v1/invocations/{id}/result", self.result, methods=["GET"]),
            Route("/v1/invocations/{id}/input", self.input, methods=["GET"]),
        ]

    async def status(self, request: Request) -> Answer:
        """Answer the status document; `Prefer: wait=N` waits for the end."""
        record, applied = await self._record(request)
        document = encode_json(status_document(record))
        tag = b'"%s"' % hashlib.sha256(document).hexdigest()[:32].encode()
        headers = [(b"etag", tag), (b"cache-control", b"no-cache"), *applied]
        if not record.is_final:
            headers.append(RETRY_AFTER)
        if is_fresh(_if_none_match(request), tag):
            return Answer(304, b"", headers=headers)
        return Answer(200, document, headers=headers)

    async def result(self, request: Request) -> Answer:
        """Answer the result in its own media type; 202 while there is none."""
        record, applied = await self._record(request)
        if not record.is_final:
            return open_answer(record.id, record.status, applied)
        return await end_answer(self._ledger, record, applied, _if_none_match(request))

    async def input(self, request: Request) -> Answer:
        """Answer the event that the invocation is for; a raw body is its `data_base64`."""
        record, _ = await self._record(request)
        given = await self._ledger.input(record)
        if given is None:
            raise missing(record.id)
        event, blob = given
        raw = {} if blob is None else {"data_base64": base64.b64encode(blob).decode()}
        return json_answer(200, {**json.loads(event), **raw})

    async def page(self, request: Request) -> Answer:
        """Answer a page of invocations, newest first."""
        query = read_names(request, ("function", "status", "since", "cursor", "limit"))
        status, limit = query.get("status"), read_limit(query.get("limit"))
        if status is not None and status not in _STATUSES:
            raise ProblemError(400, "invalid-query", f"unknown status {status[:100]!r}; use one of {', '.join(_STATUSES)}")
        since_ms = int(moment(query["since"], "since").timestamp() * 1000) if "since" in query else 0
        try:
            page = await self._ledger.page(
                function=query.get("function") or None,
                status=status,
                since_ms=since_ms,
                cursor=query.get("cursor") or None,
                limit=limit,
            )
        except ValueError as error:
            raise ProblemError(400, "invalid-query", str(error)) from None
        headers = [next_link(request, query, page.next)] if page.next else []
        return json_answer(
            200, {"invocations": [status_document(record) for record in page.invocations], "next": page.next}, headers
        )

    async def _record(self, request: Request) -> tuple[Invocation, list[Header]]:
        invocation_id = request.path_params["id"]
        wait_s = wait_asked(_headers(request))
        record = await self._waits.record(invocation_id, wait_s or 0)
        if record is None:
            raise missing(invocation_id)
        return record, [] if wait_s is None else [(b"preference-applied", b"wait=%d" % wait_s)]


def missing(invocation_id: str) -> ProblemError:
    """Say that there is no record of an id; 410 when one of its time has expired by now."""
    moment_ms = given_ms(invocation_id)
    if moment_ms is None:
        return ProblemError(404, "unknown-invocation", f"{invocation_id[:100]!r} is no id of an invocation")
    if moment_ms < (time.time() - SHORTEST_KEPT_S) * 1000:
        return ProblemError(410, "invocation-expired", f"the invocation {invocation_id!r} is no longer kept")
    return ProblemError(404, "unknown-invocation", f"there is no invocation {invocation_id!r}")


def _headers(request: Request) -> Mapping[bytes, bytes]:
    exchange: Exchange = request.scope[EXCHANGE]
    return exchange.headers  # repeated ones joined, which Starlette's are not


def _if_none_match(request: Request) -> bytes:
    return _headers(request).get(b"if-none-match", b"")
