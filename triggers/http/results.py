"""An invocation's end as a response: its result in its own media type, or why there is none."""

from __future__ import annotations

from urllib.parse import quote

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.records import Invocation, ResultInfo
from triggers.http.answers import JSON, Answer, Header, ProblemError
from triggers.http.documents import RETRY_AFTER, accepted_body, location


def open_answer(invocation_id: str, status: str, headers: list[Header], outcome: str = "new") -> Answer:
    """Return the 202 of an invocation that is not finished; `outcome` is its acceptance's."""
    place = (b"location", location(invocation_id).encode())
    return Answer(202, accepted_body(invocation_id, status, outcome), JSON, [place, RETRY_AFTER, *headers])


async def end_answer(ledger: AsyncLedger, record: Invocation, headers: list[Header], if_none_match: bytes = b"") -> Answer:
    """Return the response of an invocation that is final.

    Raises:
        ProblemError: 502 when it failed; 410 when it was cancelled or its result has expired.
        LedgerUnavailableError: the result cannot be read now.
    """
    own = location(record.id)
    if record.status == "failed":
        raise _failure(record, headers)
    if record.status == "cancelled":
        raise ProblemError(410, "invocation-cancelled", "it was cancelled; there is no result", instance=own, headers=headers)
    info = record.result
    tag = b'"%s"' % info.sha256.encode() if info else b""
    if info and is_fresh(if_none_match, tag):
        return Answer(304, b"", headers=[(b"etag", tag), *headers])
    body = await ledger.result(record)
    if info is None or body is None:
        raise ProblemError(410, "result-expired", "its result is no longer kept", instance=own, headers=headers)
    return Answer(200, body, _media_type(info), [*_facts(record, info, tag), *headers])


def is_fresh(if_none_match: bytes, tag: bytes) -> bool:
    """Tell whether the caller has the current state already (RFC 9110, section 13.1.2)."""
    given = [entry.strip().removeprefix(b"W/") for entry in if_none_match.split(b",")]
    return b"*" in given or tag.removeprefix(b"W/") in given


def _failure(record: Invocation, headers: list[Header]) -> ProblemError:
    error = record.error or {}
    reason = f"{error.get('type', 'Error')}: {error.get('message', 'no reason was recorded')}"
    return ProblemError(
        502,
        "function-failed",
        f"{record.function!r} failed after {record.attempt} {'attempt' if record.attempt == 1 else 'attempts'}: {reason}",
        errors=error.get("errors") or (),
        instance=location(record.id),
        headers=[(b"x-invocation-id", record.id.encode()), *headers],
        invocation=record.id,
        error={name: error.get(name) for name in ("kind", "type", "message")},
    )


def _facts(record: Invocation, info: ResultInfo, tag: bytes) -> list[Header]:
    headers = [
        (b"x-invocation-id", record.id.encode()),
        (b"etag", tag),
        # What a function returns is its author's: a browser must not run it as a page of this site.
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
    ]
    if info.filename:
        headers.append((b"content-disposition", _disposition(info.filename)))
    return headers


def _media_type(info: ResultInfo) -> bytes:
    text = info.media_type
    return text.encode() if text.isascii() and text.isprintable() else b"application/octet-stream"


def _disposition(filename: str) -> bytes:
    """Name the file to a browser: plainly, and beyond ASCII as RFC 6266 has it."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\/%' else "_" for c in filename)
    if plain == filename:
        return f'inline; filename="{plain}"'.encode()
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='', errors='replace')}".encode()
