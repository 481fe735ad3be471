"""What every signature scheme works with: the request as it was signed, the terms it is checked by, and what may come of it."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.authoring.triggers import HttpTrigger
from triggers.http.answers import Answer, Header, ProblemError

if TYPE_CHECKING:  # only `sns` fetches, and only it needs what fetching needs
    from triggers.http.signatures.certificates import Certificates


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as its sender signed it."""

    method: str
    #: the path and the query, exactly as they were asked for
    target: bytes
    #: by lower-case name
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret of the route, by the name under which the host has it."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request is checked by."""

    trigger: HttpTrigger
    #: any of them may have signed
    secrets: Sequence[Secret]
    #: seconds since 1970
    now: float
    #: where senders reach this host, "https://hooks.example.org"; None when the host does not say
    public_url: str | None = None
    certificates: Certificates | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What a scheme found besides a good signature."""

    #: the sender's own id of this delivery; repeats of it make no second invocation. Empty: the sender gives none
    delivery: str = ""
    #: a handshake to answer instead of running the function
    answer: Answer | None = None
    #: the JSON text to read instead of the body, when the sender wraps one or hides its type
    document: bytes | None = None
    #: whether the sender only tries the address: what the function cannot take is then ignored instead of refused
    is_trial: bool = False


#: A scheme raises `RefusedError` or `MisconfiguredError`, or tells what it found.
Scheme = Callable[[Signed, Terms], Verified | Awaitable[Verified]]

# A 401 names how to authenticate (RFC 9110, section 15.5.2); senders of webhooks know, and others learn that it is no password.
_CHALLENGE = [(b"www-authenticate", b'Signature realm="oncue"')]


class RefusedError(ProblemError):
    """The signature is bad or missing, or its timestamp too old or too new. Never says what would have been right."""

    def __init__(self, code: str, detail: str, headers: Sequence[Header] = _CHALLENGE) -> None:
        super().__init__(401, code, detail, headers=headers)


class MisconfiguredError(ProblemError):
    """This host cannot verify anybody at the route as it is set up; says which name to look at, never a value."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            503,
            "verification-unavailable",
            f"this route cannot verify its sender: {reason}",
            headers=[(b"retry-after", b"60")],
        )


def header(signed: Signed, name: bytes) -> bytes:
    """Return a header that the scheme needs.

    Raises:
        RefusedError: it is missing or empty.
    """
    value = signed.headers.get(name, b"").strip()
    if not value:
        raise RefusedError("signature-missing", f"the header {name.decode()} is missing")
    return value


def text_header(signed: Signed, name: bytes) -> str:
    """Return a header as text; empty when it is missing or no plain ASCII."""
    value = signed.headers.get(name, b"").strip()
    return value.decode() if value.isascii() and value.decode().isprintable() else ""


def is_any(expected: Iterable[bytes], given: Sequence[bytes]) -> bool:
    """Tell whether any of the expected equals any of the given: each compared in constant time, none left out."""
    found = False
    for own in expected:
        for each in given:
            found |= hmac.compare_digest(own, each)
    return found


def macs(terms: Terms, message: bytes, algorithm: str = "sha256") -> list[bytes]:
    """Return the HMAC of a message under each secret as it is written."""
    return [hmac.digest(secret.value.encode(), message, algorithm) for secret in terms.secrets]


def in_hex(digests: Iterable[bytes], prefix: bytes = b"") -> list[bytes]:
    """Write digests as lower-case hexadecimal."""
    return [prefix + digest.hex().encode() for digest in digests]


def in_base64(digests: Iterable[bytes], prefix: bytes = b"") -> list[bytes]:
    """Write digests as base64."""
    return [prefix + binascii.b2a_base64(digest, newline=False) for digest in digests]


def mismatch(terms: Terms) -> RefusedError:
    """Say that nothing matches."""
    names = " or ".join(secret.name for secret in terms.secrets)
    by = f" by {names}" if names else ""
    return RefusedError("signature-invalid", f"the signature does not match this request{by}")


def read_timestamp(text: bytes) -> int:
    """Return the Unix seconds of a header.

    Raises:
        RefusedError: it is no plain decimal number.
    """
    if not text.isdigit() or len(text) > 12:
        raise RefusedError("signature-invalid", "the timestamp of the signature is no number of Unix seconds")
    return int(text)


def check_age(moment: float, terms: Terms, oldest_s: float | None = None) -> None:
    """Refuse a timestamp outside of the replay window; only ever called once the signature is known to be good.

    Raises:
        RefusedError: it is older than `oldest_s` (the route's tolerance when not said), or too far ahead.
    """
    age_s = terms.now - moment
    tolerance_s = terms.trigger.tolerance_s
    allowed_s = tolerance_s if oldest_s is None else oldest_s
    if age_s > allowed_s or -age_s > tolerance_s:
        side = f"{age_s:.0f} s old" if age_s > 0 else f"{-age_s:.0f} s ahead of this host's clock"
        raise RefusedError(
            "timestamp-out-of-tolerance",
            f"the signed timestamp is {side}, and {allowed_s if age_s > 0 else tolerance_s:g} s are allowed",
        )


def decode_key(secret: Secret, prefix: str) -> bytes:
    """Return the key bytes of a base64 secret, with or without its padding.

    Raises:
        MisconfiguredError: the secret is not base64, or empty.
    """
    text = secret.value.strip().removeprefix(prefix)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise MisconfiguredError(f"the secret {secret.name} is not base64 behind {prefix!r}; copy it as the sender shows it")
    return key
