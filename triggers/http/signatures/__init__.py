"""Webhook signatures: one small file a scheme. A request is verified over its raw body, before anything reads it.

A scheme is a function `(request, secrets, tolerance_s, now) -> Verified` that raises `RefusedError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runtime.authoring.triggers import HttpTrigger
from triggers.http.answers import Answer, ProblemError


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as its sender signed it."""

    method: str
    path: str
    query: bytes
    #: by lower-case name
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """What a scheme found besides a good signature."""

    #: the sender's own id of this delivery; repeats of it make no second invocation. Empty: the sender gives none
    delivery: str = ""
    #: a handshake to answer instead of running the function
    answer: Answer | None = None


class RefusedError(ProblemError):
    """The signature is bad or missing, or its timestamp too old or too new. Never says what would have been right."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(401, code, detail)


Scheme = Callable[[Signed, Sequence[str], float, float], Verified]

#: The schemes that are built, by the name that `verify=` gives them.
SCHEMES: Mapping[str, Scheme] = {}


def scheme_of(trigger: HttpTrigger) -> Scheme:
    """Return the scheme a route asks for.

    Raises:
        ProblemError: 501: it is not built; an unverified request is never let through instead.
    """
    scheme = SCHEMES.get(trigger.verify) if isinstance(trigger.verify, str) else None
    if scheme is None:
        raise ProblemError(501, "verification-unavailable", "this route verifies its sender by a scheme that is not available")
    return scheme
