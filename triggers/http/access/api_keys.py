"""API keys as values: made, written down without their secret, and recognised again.

    oncue_k3f9a2c41b_5f1c…      what its owner holds; shown once
    {"id": "k3f9a2c41b", "name": "ci", "digest": "<SHA-256 of the secret>", "scopes": ["invoke:thumbnail", "read"], …}

A name may have two live keys, so that one can replace the other; both are the same caller.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from runtime.authoring.errors import OnCueError

#: Live keys that one name may have.
MOST_PER_NAME = 2

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SCOPE = re.compile(r"read|operate|deploy|invoke:(?:\*|[A-Za-z_][A-Za-z0-9_]{0,127})")
_TOKEN = re.compile(r"oncue_([a-z0-9]{10})_([0-9a-f]{48})")
_NOBODY = hashlib.sha256(b"no key has this secret").hexdigest()


class KeyRefusedError(OnCueError):
    """A key cannot be made as it is asked for."""

    exit_code = 2


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a key."""

    id: str
    #: who holds it; idempotency keys and rate limits go by the name
    name: str
    #: SHA-256 of the secret, in hex
    digest: str
    scopes: tuple[str, ...]
    created_ms: int
    #: ms since 1970; None: it does not expire
    expires_ms: int | None = None

    def is_live(self, now_ms: float) -> bool:
        """Tell whether it has not expired."""
        return self.expires_ms is None or now_ms < self.expires_ms

    def allows(self, scope: str) -> bool:
        """Tell whether it opens what needs this scope."""
        return scope in self.scopes or (scope.startswith("invoke:") and "invoke:*" in self.scopes)


class Minted(NamedTuple):
    """A new key, and the one chance to see its token."""

    key: ApiKey
    token: str


def mint(name: str, scopes: Sequence[str], expires_s: float | None, existing: Sequence[ApiKey]) -> Minted:
    """Make a key; `existing` are the keys there are already.

    Raises:
        KeyRefusedError: the name or a scope cannot be, or the name has two live keys.
    """
    now_ms = int(time.time() * 1000)
    if not _NAME.fullmatch(name):
        raise KeyRefusedError(f"{name!r} cannot name a key; use up to 63 letters, digits and '._-', like ci or web-shop")
    if not scopes:
        raise KeyRefusedError("a key without a scope opens nothing; add --scope invoke:NAME, invoke:*, read, operate or deploy")
    for scope in scopes:
        if not _SCOPE.fullmatch(scope):
            raise KeyRefusedError(f"unknown scope {scope!r}; use invoke:NAME, invoke:*, read, operate or deploy")
    live = [key.id for key in existing if key.name == name and key.is_live(now_ms)]
    if len(live) >= MOST_PER_NAME:
        raise KeyRefusedError(f"{name!r} has {len(live)} live keys ({', '.join(live)}); revoke one first: oncue key revoke ID")
    id, secret = secrets.token_hex(5), secrets.token_hex(24)
    key = ApiKey(
        id=id,
        name=name,
        digest=_digest(secret),
        scopes=tuple(dict.fromkeys(scopes)),
        created_ms=now_ms,
        expires_ms=None if expires_s is None else now_ms + int(expires_s * 1000),
    )
    return Minted(key, f"oncue_{id}_{secret}")


def find(token: str, keys: Mapping[str, ApiKey]) -> ApiKey | None:
    """Return the key of a token, expired or not; None when there is none. Takes as long either way."""
    match = _TOKEN.fullmatch(token)
    key = keys.get(match[1]) if match else None
    expected = _NOBODY if key is None else key.digest
    is_right = hmac.compare_digest(_digest(match[2] if match else token), expected)
    return key if is_right else None


def _digest(secret: str) -> str:
    # A secret of 192 random bits needs no slow hash: nobody can try them all.
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
