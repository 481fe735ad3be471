"""What a person does to invocations: cancel or replay one; list, replay or drop dead letters.

A dead letter is a failed invocation that nobody has replayed. Those of one cause share a fingerprint, and are counted by it:

{"groups": [{"fingerprint": "5f2c…", "function": "thumbnail", "type": "ValueError", "message": "no image", "count": 12,
             "newest_at": …, "oldest_at": …, "newest": "default-01j…"}], "dead_letters": [{…}], "next": null}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.operations import DeadLetterFilter, Operations, Target
from runtime.ledger.records import FINAL, Invocation
from triggers.http.answers import Answer, Header, ProblemError, json_answer
from triggers.http.documents import links, location, rfc3339, status_document
from triggers.http.invocations import missing
from triggers.http.preferences import moment
from triggers.http.query import next_link, read_limit, read_names
from triggers.http.served import Served

#: Query parameters that say which dead letters are meant.
FILTERS = ("function", "fingerprint", "type", "since", "until")

#: Replays a second that can be asked for.
MIN_RATE, MAX_RATE = 0.001, 10_000.0


class Operating:
    """The endpoints that change invocations."""

    def __init__(self, ledger: AsyncLedger, served: Callable[[], Served]) -> None:
        self._ledger = ledger
        self._served = served
        self._operations = Operations(ledger, self._target)

    def routes(self) -> list[Route]:
        """Return their routes."""
        return [
            Route("/v1/invocations/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/v1/invocations/{id}/replay", self.replay, methods=["POST"]),
            Route("/v1/dead-letters", self.all, methods=["GET", "DELETE"]),
            Route("/v1/dead-letters/replay", self.replay_all, methods=["POST"]),
            Route("/v1/dead-letters/{id}", self.drop_one, methods=["DELETE"]),
        ]

    async def cancel(self, request: Request) -> Answer:
        """Cancel an invocation; one that runs is cancelled once its child has ended."""
        invocation_id = request.path_params["id"]
        status = await self._operations.cancel(invocation_id)
        if status is None:
            raise missing(invocation_id)
        if status in FINAL:
            raise _wrong_state(
                invocation_id, f"it has {'been ' if status == 'cancelled' else ''}{status}; nothing is left to cancel"
            )
        now = "running" if status == "running" else "cancelled"
        return json_answer(202, {"id": invocation_id, "status": now, "links": links(invocation_id)}, [_place(invocation_id)])

    async def replay(self, request: Request) -> Answer:
        """Invoke anew with the same input; a second request within a minute answers with the same replay."""
        invocation_id = request.path_params["id"]
        record = await self._failed(invocation_id)
        accepted = await self._operations.replay(record)
        if accepted is None:
            raise missing(invocation_id)
        mark: dict[str, Any] = {} if accepted.outcome == "new" else {accepted.outcome: True}
        document = {"id": accepted.id, "status": "queued", "replay_of": invocation_id, **mark, "links": links(accepted.id)}
        return json_answer(202, document, [_place(accepted.id)])

    async def all(self, request: Request) -> Answer:
        """Answer whatever is asked of all dead letters."""
        return await (self.drop(request) if request.method == "DELETE" else self.page(request))

    async def page(self, request: Request) -> Answer:
        """Answer dead letters, newest first, and a summary of all that the filters take."""
        query = read_names(request, (*FILTERS, "cursor", "limit"))
        limit, cursor = read_limit(query.get("limit")), query.get("cursor")
        dead = await self._operations.dead_letters(_filter(query))
        records = sorted(dead.records, key=_position, reverse=True)
        listed = [record for record in records if cursor is None or _position(record) < cursor]
        following = _position(listed[limit - 1]) if len(listed) > limit else None
        headers: list[Header] = [next_link(request, query, following)] if following else []
        document = {
            "count": len(records),
            "is_complete": dead.is_complete,
            "groups": _groups(records),
            "dead_letters": [status_document(record) for record in listed[:limit]],
            "next": following,
        }
        return json_answer(200, document, headers)

    async def replay_all(self, request: Request) -> Answer:
        """Replay the dead letters of a filter; `rate=` spreads them over time, `dry_run=1` only says which."""
        query = read_names(request, (*FILTERS, "rate", "dry_run"))
        wanted, rate = _filter(query), _rate(query.get("rate"))
        if _is_set(query, "dry_run"):
            return await self._dry_run(wanted)
        accepted = await self._operations.replay_all(wanted, per_second=rate)
        return json_answer(202, {"replayed": len(accepted), "invocations": [each.id for each in accepted]})

    async def drop(self, request: Request) -> Answer:
        """Delete the dead letters of a filter, or `all=1`."""
        query = read_names(request, (*FILTERS, "all", "dry_run"))
        if not query.keys() & set(FILTERS) and not _is_set(query, "all"):
            raise ProblemError(
                400, "invalid-query", f"say which dead letters are meant, by {', '.join(FILTERS)}; or all=1 for every one"
            )
        wanted = _filter(query)
        if _is_set(query, "dry_run"):
            return await self._dry_run(wanted)
        dead = await self._operations.dead_letters(wanted)
        return json_answer(200, {"dropped": await self._operations.drop(dead.records)})

    async def drop_one(self, request: Request) -> Answer:
        """Delete one dead letter."""
        await self._operations.drop([await self._failed(request.path_params["id"])])
        return Answer(204, b"")

    async def _dry_run(self, wanted: DeadLetterFilter) -> Answer:
        dead = await self._operations.dead_letters(wanted)
        records = sorted(dead.records, key=_position, reverse=True)
        return json_answer(200, {"dry_run": True, "count": len(records), "groups": _groups(records)})

    async def _failed(self, invocation_id: str) -> Invocation:
        record = await self._ledger.get(invocation_id)
        if record is None:
            raise missing(invocation_id)
        if record.status != "failed":
            raise _wrong_state(invocation_id, f"it is {record.status}, and only what has failed is a dead letter")
        return record

    def _target(self, record: Invocation) -> Target | None:
        target = self._served().targets.get(record.function)
        return None if target is None else Target(target.queue, target.function.version)


def _wrong_state(invocation_id: str, reason: str) -> ProblemError:
    return ProblemError(409, "wrong-state", f"{invocation_id}: {reason}", instance=location(invocation_id))


def _place(invocation_id: str) -> Header:
    return b"location", location(invocation_id).encode()


def _position(record: Invocation) -> str:
    """Return where a record stands in the list: by its end, then by its id."""
    return f"{record.ended_ms or 0:015d}:{record.id}"


def _filter(query: Mapping[str, str]) -> DeadLetterFilter:
    def moment_ms(name: str) -> int | None:
        return int(moment(query[name], name).timestamp() * 1000) if name in query else None

    return DeadLetterFilter(
        function=query.get("function"),
        fingerprint=query.get("fingerprint"),
        error_type=query.get("type"),
        since_ms=moment_ms("since") or 0,
        until_ms=moment_ms("until"),
    )


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text[:20])
    except ValueError:
        rate = 0.0
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ProblemError(
            400, "invalid-query", f"rate is replays a second, from {MIN_RATE:g} to {MAX_RATE:g}; it was {text[:20]!r}"
        )
    return rate


def _is_set(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "0").lower()
    if value not in ("0", "1", "true", "false"):
        raise ProblemError(400, "invalid-query", f"{name} is 0 or 1")
    return value in ("1", "true")


def _groups(records: list[Invocation]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:  # newest first
        error = record.error or {}
        group = groups.setdefault(
            (record.function, error.get("fingerprint") or ""),
            {
                "fingerprint": error.get("fingerprint"),
                "function": record.function,
                "type": error.get("type"),
                "message": error.get("message"),
                "count": 0,
                "newest_at": rfc3339(record.ended_ms),
                "oldest_at": None,
                "newest": record.id,
            },
        )
        group["count"] += 1
        group["oldest_at"] = rfc3339(record.ended_ms)
    return sorted(groups.values(), key=lambda group: -group["count"])
