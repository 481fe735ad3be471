"""What the API says of an invocation, as JSON documents.

{"id": "media-01j…", "function": "thumbnail", "version": "9f2c…", "status": "succeeded", "attempt": 1,
 "accepted_at": "2026-01-31T09:00:00.000Z", "started_at": …, "ended_at": …, "progress": {"fraction": 1, "note": ""},
 "error": null, "attempts": [{"attempt": 1, "outcome": "succeeded", "duration_ms": 21.4, …}],
 "result": {"media_type": "image/jpeg", "size": 4711, "filename": null, "href": "/v1/invocations/media-01j…/result"},
 "links": {"self": …, "result": …, "events": …, "cancel": …}}

and of one that came with a callback URL:

 "callback": {"host": "example.org", "state": "told", "tries": 1, "last_at": …, "answer": 204, "reason": null}
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from runtime.ledger.records import Invocation

#: Seconds after which a caller may look again at what is not finished.
RETRY_AFTER = (b"retry-after", b"1")


def rfc3339(moment_ms: int | None) -> str | None:
    """Return a time as text, in UTC."""
    if moment_ms is None:
        return None
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def location(invocation_id: str) -> str:
    """Return the path of an invocation."""
    return f"/v1/invocations/{invocation_id}"


def links(invocation_id: str) -> dict[str, str]:
    """Return where an invocation can be asked for and acted upon."""
    own = location(invocation_id)
    return {"self": own, "result": f"{own}/result", "events": f"{own}/events", "cancel": f"{own}/cancel"}


def accepted_body(invocation_id: str, status: str, outcome: str = "new") -> bytes:
    """Return the body of a 202, `{"id": …, "status": "queued", "links": {…}}`. Built by hand: it is the hot path.

    `outcome` is the acceptance's; "duplicate" and "cached" are said.
    """
    own = location(invocation_id)
    mark = "" if outcome == "new" else f',"{outcome}":true'
    return (
        f'{{"id":"{invocation_id}","status":"{status}"{mark},"links":{{"self":"{own}","result":"{own}/result",'
        f'"events":"{own}/events","cancel":"{own}/cancel"}}}}'
    ).encode()


def status_document(record: Invocation) -> dict[str, Any]:
    """Return all there is to know of an invocation; tracebacks stay with their attempts."""
    own = links(record.id)
    result = record.result
    document = {
        "id": record.id,
        "function": record.function,
        "version": record.version,
        "status": record.status,
        "attempt": record.attempt,
        "accepted_at": rfc3339(record.accepted_ms),
        "due_at": rfc3339(record.due_ms) if record.status in ("scheduled", "retrying") else None,
        "started_at": rfc3339(record.started_ms),
        "ended_at": rfc3339(record.ended_ms),
        "progress": record.progress,
        "error": _without_traceback(record.error),
        "attempts": [_attempt(attempt) for attempt in record.attempts],
        "result": result
        and {
            "media_type": result.media_type,
            "size": result.size,
            "sha256": result.sha256,
            "filename": result.filename,
            "expires_at": rfc3339(record.result_until_ms),
            "href": own["result"],
        },
        "links": own,
    }
    if record.replay_of:
        document["replay_of"] = record.replay_of
    if record.callback:
        document["callback"] = _callback(record)
    return document


def _callback(record: Invocation) -> dict[str, Any]:
    parts = urlsplit(record.callback or "")
    told = record.called_back or {"state": "waiting"}
    return {
        # The rest of the URL may hold a secret of whoever gave it.
        "host": parts.hostname,
        "state": told["state"],
        "tries": record.callbacks,
        "last_at": rfc3339(told.get("at_ms")),
        "answer": told.get("answer"),
        "reason": told.get("reason"),
    }


def _attempt(attempt: dict[str, Any]) -> dict[str, Any]:
    times = {f"{name}_at": rfc3339(attempt[f"{name}_ms"]) for name in ("started", "ended") if f"{name}_ms" in attempt}
    rest = {name: value for name, value in attempt.items() if name not in ("attempt", "started_ms", "ended_ms")}
    return {"attempt": attempt["attempt"], **times, **rest}


def _without_traceback(error: dict[str, Any] | None) -> dict[str, Any] | None:
    return error and {name: value for name, value in error.items() if name != "traceback"}
