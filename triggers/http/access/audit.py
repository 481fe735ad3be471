"""The audit: who asked for what, and whether it was let in. Never a body, a query or a secret.

{"at": "2026-01-31T09:00:00.000Z", "who": "ci", "key": "k3f9a2c41b", "address": "127.0.0.1", "method": "POST",
 "route": "/v1/functions/thumbnail", "status": 202, "decision": "allowed", "request_id": "…", "body": "<SHA-256>"}

Noted is what changes something, and what was refused; of an OnCue without keys, all but invocations and deliveries, which
have records of their own. Entries are written together a moment later: a crash may lose those of the last moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from typing import Any

import msgspec
import structlog
from starlette.requests import Request
from starlette.routing import Route

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import EDGE, QueueKeys
from runtime.ledger.reads import Reads
from runtime.ledger.wire import LedgerUnavailableError
from triggers.http.answers import Answer, Header, ProblemError, encode_json, json_answer
from triggers.http.documents import rfc3339
from triggers.http.exchange import Exchange

#: Entries of one stream entry, at most, and stream entries kept: some 90 MB of audit when it is written all the time.
CHUNK = 32
MOST_CHUNKS = 10_000
#: Seconds between an entry and its being written, and entries written at once.
FLUSH_S = 0.2
MAX_BATCH = 32 * CHUNK
#: Entries held while Redis is away; then the newest are dropped, and counted in the log.
MOST_HELD = 20_000

#: Items of a page, when not said, and at most.
PAGE_ITEMS = 50
MAX_PAGE_ITEMS = 500

_REFUSED = frozenset((401, 403, 421, 429))
_CURSOR = re.compile(r"([0-9]{1,15}-[0-9]{1,10})\.([0-9]{1,3})")


class Audit:
    """Notes the requests of one process; belongs to one event loop."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._entries: list[bytes] = []
        self._dropped = 0
        self._writer: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("oncue.audit")

    def note(self, exchange: Exchange) -> None:
        """Note a request that has been answered, if it is one to note (guard.py says which)."""
        caller, status = exchange.caller, exchange.status
        is_refused = status in _REFUSED
        if caller is None or not (is_refused or exchange.is_noted):
            return
        if len(self._entries) >= MOST_HELD:
            self._dropped += 1
            return
        self._entries.append(
            encode_json(
                {
                    "at_ms": int(time.time() * 1000),
                    "who": caller.name,
                    "key": caller.key_id,
                    "address": caller.address,
                    "method": exchange.method,
                    "route": exchange.route[:200],
                    "status": status,
                    "decision": "refused" if is_refused else "allowed",
                    "request_id": exchange.request_id.decode(),
                    "body": hashlib.sha256(exchange.body).hexdigest() if exchange.body else "",
                }
            )
        )
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        """Write what is held."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        try:
            await self._flush()
        except LedgerUnavailableError as error:
            self._log.error("entries of the audit are lost", count=len(self._entries), reason=str(error))

    async def _write(self) -> None:
        try:
            while self._entries:
                await asyncio.sleep(FLUSH_S)
                try:
                    await self._flush()
                except LedgerUnavailableError as error:
                    self._log.warning("the audit waits until Redis is back", held=len(self._entries), reason=str(error))
                    await asyncio.sleep(1)
        finally:
            self._writer = None

    async def _flush(self) -> None:
        while self._entries:
            batch = self._entries[:MAX_BATCH]
            chunks = [b"\n".join(batch[start : start + CHUNK]) for start in range(0, len(batch), CHUNK)]
            await self._reads.run("audit", QueueKeys(EDGE).base, MOST_CHUNKS, *chunks)
            del self._entries[: len(batch)]
        if self._dropped:
            self._log.error("entries of the audit were dropped while Redis was away", count=self._dropped)
            self._dropped = 0


class AuditTrail:
    """The endpoint that reads the audit."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger

    def routes(self) -> list[Route]:
        """Return its route."""
        return [Route("/v1/audit", self.page, methods=["GET"])]

    async def page(self, request: Request) -> Answer:
        """Answer a page of the audit, newest first."""
        query = dict(request.query_params)
        unknown = query.keys() - {"limit", "cursor"}
        limit, cursor = query.get("limit", str(PAGE_ITEMS)), query.get("cursor", "")
        if unknown:
            raise ProblemError(400, "invalid-query", f"unknown parameter {min(unknown)[:100]!r}; use limit and cursor")
        if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit[:9]) <= MAX_PAGE_ITEMS:
            raise ProblemError(400, "invalid-query", f"limit is a number from 1 to {MAX_PAGE_ITEMS}")
        place = _CURSOR.fullmatch(cursor)
        if cursor and not place:
            raise ProblemError(400, "invalid-query", "this cursor is none of this list; leave it out to start anew")
        newest, below = (place[1], int(place[2])) if place else ("+", CHUNK)
        # Two more than are needed: the first may have been told already, and the last says whether something follows.
        chunks = await self._ledger.reads.do("XREVRANGE", QueueKeys(EDGE).audit, newest, "-", "COUNT", int(limit) + 2)
        entries: list[tuple[str, bytes]] = []
        for chunk, fields in chunks:
            lines = fields[1].split(b"\n")[: below if chunk.decode() == newest else None]
            entries += [(f"{chunk.decode()}.{index}", lines[index]) for index in reversed(range(len(lines)))]
        page = entries[: int(limit)]
        following = page[-1][0] if len(entries) > len(page) else None
        headers: list[Header] = []
        if following:
            headers.append((b"link", f'</v1/audit?limit={limit}&cursor={following}>; rel="next"'.encode()))
        return json_answer(200, {"entries": [_entry(line) for _, line in page], "next": following}, headers)


def _entry(document: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = msgspec.json.decode(document)
    return {"at": rfc3339(entry.pop("at_ms")), **entry}
