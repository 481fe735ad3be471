"""A key in a header: `X-API-Key: <the secret>`, or the header that `header=` names; in Authorization behind "Bearer "."""

from __future__ import annotations

from triggers.http.signatures.scheme import Signed, Terms, Verified, header, is_any, mismatch

DEFAULT_HEADER = "X-API-Key"


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify who calls. Nothing is signed and nothing tells repeats: use it over TLS, from senders that can do no better."""
    name = (terms.trigger.header or DEFAULT_HEADER).lower().encode()
    given = header(signed, name)
    if name == b"authorization" and given[:7].lower() == b"bearer ":
        given = given[7:].strip()
    if not is_any([secret.value.encode() for secret in terms.secrets], [given]):
        raise mismatch(terms)
    return Verified()
