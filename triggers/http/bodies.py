"""Request bodies: read as raw bytes and counted while they stream, then read as JSON by a strict reader."""

from __future__ import annotations

from typing import Any

from triggers import strict_json
from triggers.http.answers import ProblemError
from triggers.http.exchange import ClientGoneError, Exchange


async def read_body(exchange: Exchange, limit: int) -> bytes:
    """Return the raw body. The protocol cuts a body that takes longer than its deadline (protocol.py).

    Raises:
        ProblemError: 413 as soon as it is known to exceed `limit` bytes; 415 when it is compressed.
        ClientGoneError: the caller hung up.
    """
    headers = exchange.headers
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _encoded("Content-Encoding")
    announced = headers.get(b"content-length")
    if announced is None and headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise _encoded("compression")
    if announced is not None and int(announced) > limit:
        # A caller that waits for "100 Continue" may send its next request or this body: only a close is safe.
        raise _too_large(limit, [(b"connection", b"close")] if b"expect" in headers else [])
    parts: list[bytes] = []
    size = 0
    while True:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit, [])
        if not message.get("more_body", False):
            exchange.body = b"".join((*parts, part)) if parts else part
            return exchange.body
        parts.append(part)


def _encoded(cause: str) -> ProblemError:
    # RFC 9110, section 15.5.16: the header tells this 415 from one about the media type.
    detail = f"compressed bodies are not taken; send it without {cause}"
    return ProblemError(415, "unsupported-encoding", detail, headers=[(b"accept-encoding", b"identity")])


def _too_large(limit: int, headers: list[tuple[bytes, bytes]]) -> ProblemError:
    return ProblemError(
        413, "body-too-large", f"the body exceeds {limit:,} bytes; send less, or raise the function's max_body", headers=headers
    )


def read_json(body: bytes) -> Any:
    """Return the value of a JSON text, as `triggers.strict_json` reads it.

    Raises:
        ProblemError: 400: it is none.
    """
    try:
        return strict_json.read_json(body)
    except strict_json.InvalidJsonError as error:
        raise ProblemError(400, "invalid-json", str(error)) from None
