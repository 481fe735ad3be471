"""`POST /v1/functions/{name}`: from a request to an invocation. The hot path; plain ASGI.

read body → read and check data → event → ledger.accept (one script, batched) → 202
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import new_id
from runtime.ledger.records import FINAL, Acceptance, Accepted
from triggers.http.answers import Answer, Header, ProblemError, encode_json
from triggers.http.bodies import read_body
from triggers.http.caching import twins_of
from triggers.http.callbacks.urls import Callbacks
from triggers.http.exchange import Exchange
from triggers.http.payloads import Payload, read_payload
from triggers.http.preferences import AT_ONCE, Once, once, read_query, wait_asked
from triggers.http.results import end_answer, open_answer
from triggers.http.targets import Target
from triggers.http.tracing import trace_fields
from triggers.http.waiting import Waits

#: Whose idempotency keys these are where callers have no names: an OnCue without API keys.
ANYBODY = ""


class Invoker:
    """Accepts direct invocations and answers them."""

    def __init__(self, ledger: AsyncLedger, waits: Waits, callbacks: Callbacks) -> None:
        self._ledger = ledger
        self._waits = waits
        self._callbacks = callbacks

    async def serve(self, exchange: Exchange, target: Target) -> Answer:
        """Return the answer to a direct invocation of a function."""
        headers, query = exchange.headers, exchange.scope["query_string"]
        body = await read_body(exchange, target.max_body_bytes)
        start, fields = read_query(query) if query else (AT_ONCE, [])
        payload = read_payload(target, headers, body, fields)
        if fields and payload.data is body:
            raise ProblemError(
                400, "invalid-query", f"the query names {fields[0][0][:100]!r} beside a JSON body; put it into the body"
            )
        target.check(payload.value, has_blob=payload.blob is not None)
        caller = exchange.caller.name if exchange.caller else ANYBODY
        repeats = once(headers, caller, target.name, query, body)
        wait_s = wait_asked(headers)
        more = self._more(headers, caller)
        invocation_id = new_id(target.queue)
        version = target.function.version_for(repeats.key or invocation_id)
        acceptance = Acceptance(
            id=invocation_id,
            queue=target.queue,
            function=target.name,
            version=version,
            event=_event(invocation_id, target, payload),
            blob=payload.blob,
            dedupe=repeats.digest,
            fingerprint=repeats.fingerprint,
            key=repeats.key,
            delay_s=start.delay_s,
            at_ms=start.at_ms,
            watch=wait_s is not None,
            more=more,
            # What is to start later, or to be told elsewhere, is an invocation of its own.
            cache=twins_of(target, payload, version) if start is AT_ONCE and "callback" not in more else "",
            cache_ttl_s=target.manifest.options.cache_s or 0.0,
        )
        if wait_s is None:
            accepted = await self._ledger.accept(acceptance)
            if accepted.outcome == "new":
                waits = start.delay_s > 0 or start.at_ms > time.time() * 1000
                return open_answer(invocation_id, "scheduled" if waits else "queued", [])
            return await self._repeated(accepted, repeats, 0.0, [])
        return await self._awaited(acceptance, repeats, wait_s)

    def _more(self, headers: Mapping[bytes, bytes], caller: str) -> dict[str, str]:
        more = trace_fields(headers)
        if caller:
            more["caller"] = caller
        if (callback := headers.get(b"oncue-callback-url")) is not None:
            more["callback"] = self._callbacks.read(callback)
        return more

    async def _awaited(self, acceptance: Acceptance, repeats: Once, wait_s: int) -> Answer:
        applied: list[Header] = [(b"preference-applied", b"wait=%d" % wait_s)]
        began = time.monotonic()
        accepted, record = await self._waits.accept(acceptance, wait_s)
        if accepted.outcome != "new":
            return await self._repeated(accepted, repeats, wait_s - (time.monotonic() - began), applied)
        if record is None:
            record = await self._ledger.get(accepted.id)
        if record is not None and record.is_final:
            return await end_answer(self._ledger, record, applied)
        return open_answer(accepted.id, record.status if record else "queued", applied)

    async def _repeated(self, accepted: Accepted, repeats: Once, wait_s: float, headers: list[Header]) -> Answer:
        """Answer a repeat with the invocation that is there already; its result only to those who would have waited for it."""
        if accepted.outcome == "conflict":
            raise ProblemError(
                422,
                "idempotency-key-reused",
                f"the Idempotency-Key {repeats.key!r} came with another request before; use a new key, or repeat that request",
            )
        record = await self._waits.record(accepted.id, wait_s)
        if headers and record is not None and record.status in FINAL:
            return await end_answer(self._ledger, record, [*headers, (b"oncue-%s" % accepted.outcome.encode(), b"true")])
        return open_answer(accepted.id, record.status if record else "queued", headers, accepted.outcome)


def unknown_function(name: str, targets: Mapping[str, Target]) -> ProblemError:
    """Say that there is no such function, and which may be meant."""
    near = difflib.get_close_matches(name[:100], targets, n=1)
    cure = f"did you mean {near[0]!r}?" if near else "GET /v1/functions lists them"
    return ProblemError(404, "unknown-function", f"there is no function {name[:100]!r}; {cure}")


def _event(invocation_id: str, target: Target, payload: Payload) -> bytes:
    """Return the document of the event, as `runtime.authoring.event.Event.document` shapes it; the body goes in as it came."""
    parts = [
        b'{"id":"',
        invocation_id.encode(),
        target.event_head,
        datetime.now(UTC).isoformat().encode(),
        b'","data":',
        payload.data,
    ]
    if payload.media_type is not None:
        parts += (b',"content_type":', encode_json(payload.media_type.decode("latin-1")))
    parts.append(b"}")
    return b"".join(parts)
