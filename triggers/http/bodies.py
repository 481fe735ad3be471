"""Request bodies: read as raw bytes and counted while they stream, then read as JSON by a strict reader.

What is read here travels on as it came, spliced into the event's document: so whatever the reader lets pass
must mean the same to every JSON parser behind it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import msgspec

from triggers.http.answers import ProblemError
from triggers.http.exchange import ClientGoneError, Exchange

#: Objects and arrays inside each other.
MAX_DEPTH = 64

_decode = msgspec.json.Decoder().decode
#: A run of digits that may be an integer beyond 64 bits.
_long_number = re.compile(rb"[0-9]{19}").search
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


async def read_body(exchange: Exchange, limit: int) -> bytes:
    """Return the raw body. The protocol cuts a body that takes longer than its deadline (protocol.py).

    Raises:
        ProblemError: 413 as soon as it is known to exceed `limit` bytes; 415 when it is compressed.
        ClientGoneError: the caller hung up.
    """
    headers = exchange.headers
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ProblemError(415, "unsupported-encoding", "compressed bodies are not taken; send it without Content-Encoding")
    announced = headers.get(b"content-length")
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


def _too_large(limit: int, headers: list[tuple[bytes, bytes]]) -> ProblemError:
    return ProblemError(
        413, "body-too-large", f"the body exceeds {limit:,} bytes; send less, or raise the function's max_body", headers=headers
    )


def read_json(body: bytes) -> Any:
    """Return the value of a JSON text, as RFC 8259 and RFC 7493 (I-JSON) mean it.

    Raises:
        ProblemError: 400: not UTF-8, malformed, NaN or Infinity, a lone surrogate, a name twice in one object, an integer
            beyond 64 bits, a number beyond double precision, or nested too deep.
    """
    try:
        value = _decode(body)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise ProblemError(400, "invalid-json", f"the body is not UTF-8 (byte {error.start})") from None
    except msgspec.MsgspecError as error:
        raise ProblemError(400, "invalid-json", f"the body cannot be read as JSON: {error}") from None
    # Three cheap proofs that all is well, for nearly every body; a closer look where they do not hold.
    objects = body.count(b"{")
    if objects + body.count(b"[") > MAX_DEPTH and _is_deep(body):
        raise _too_deep()
    names_are_unique = objects == 0 or (objects == 1 and type(value) is dict and body.count(b":") == len(value))
    if not names_are_unique or _long_number(body):
        _look_closely(body)
    return value


def _too_deep() -> ProblemError:
    return ProblemError(400, "invalid-json", f"the body nests deeper than {MAX_DEPTH} levels")


def _is_deep(body: bytes) -> bool:
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):  # each round takes the innermost pairs away
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not brackets:
            return False
    return True


def _look_closely(body: bytes) -> None:
    try:
        _decoder.decode(body.decode())
    except _FoundError as found:
        raise ProblemError(400, "invalid-json", str(found)) from None


class _FoundError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _FoundError(f"the name {twice[:100]!r} appears twice in one object")


def _within_64_bits(digits: str) -> None:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise _FoundError(f"the integer {digits[:30]} does not fit into 64 bits; write it as a string")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_within_64_bits)
