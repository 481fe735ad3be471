"""JSON read strictly, for every way in.

What is read here travels on as it came, spliced into the event's document: so whatever the reader lets pass
must mean the same to every JSON parser behind it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import msgspec

from runtime.authoring.errors import OnCueError

#: Objects and arrays inside each other.
MAX_DEPTH = 64

_decode = msgspec.json.Decoder().decode
#: A run of digits that may be an integer beyond 64 bits.
_long_number = re.compile(rb"[0-9]{19}").search
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class InvalidJsonError(OnCueError):
    """The body is no JSON that every parser reads alike; the message says why."""


def read_json(body: bytes) -> Any:
    """Return the value of a JSON text, as RFC 8259 and RFC 7493 (I-JSON) mean it.

    Raises:
        InvalidJsonError: not UTF-8, malformed, NaN or Infinity, a lone surrogate, a name twice in one object, an integer
            beyond 64 bits, a number beyond double precision, or nested too deep.
    """
    try:
        value = _decode(body)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise InvalidJsonError(f"the body is not UTF-8 (byte {error.start})") from None
    except msgspec.MsgspecError as error:
        raise InvalidJsonError(f"the body cannot be read as JSON: {error}") from None
    # Three cheap proofs that all is well, for nearly every body; a closer look where they do not hold.
    objects = body.count(b"{")
    if objects + body.count(b"[") > MAX_DEPTH and _is_deep(body):
        raise _too_deep()
    names_are_unique = objects == 0 or (objects == 1 and type(value) is dict and body.count(b":") == len(value))
    if not names_are_unique or _long_number(body):
        _closely.decode(body.decode())
    return value


def _too_deep() -> InvalidJsonError:
    return InvalidJsonError(f"the body nests deeper than {MAX_DEPTH} levels")


def _is_deep(body: bytes) -> bool:
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):  # each round takes the innermost pairs away
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not brackets:
            return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise InvalidJsonError(f"the name {twice[:100]!r} appears twice in one object")


def _within_64_bits(digits: str) -> None:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise InvalidJsonError(f"the integer {digits[:30]} does not fit into 64 bits; write it as a string")


_closely = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_within_64_bits)
