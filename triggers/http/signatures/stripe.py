"""Stripe: `Stripe-Signature: t=1533204620,v1=<hex HMAC-SHA256 of "t.body">,v0=…`; the event's id is the dedupe key.

The secret is the literal text `whsec_…`, not what it would decode to. https://docs.stripe.com/webhooks/signature
"""

from __future__ import annotations

from triggers.http.signatures.scheme import (
    RefusedError,
    Signed,
    Terms,
    Verified,
    check_age,
    header,
    in_hex,
    is_any,
    macs,
    mismatch,
    read_timestamp,
)
from triggers.http.signatures.texts import text_member

#: Signatures of one request that are looked at; Stripe sends two while a secret is rolled.
MAX_SIGNATURES = 16


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify a request; only `v1` counts, and any of several may match."""
    parts = [part.strip().partition(b"=") for part in header(signed, b"stripe-signature").split(b",")]
    moments = [value for name, _, value in parts if name == b"t"]
    given = [value for name, _, value in parts if name == b"v1"][:MAX_SIGNATURES]
    if len(moments) != 1 or not given:
        raise RefusedError("signature-invalid", "the header stripe-signature is not of the form t=…,v1=…")
    timestamp = read_timestamp(moments[0])
    if not is_any(in_hex(macs(terms, b"%s.%s" % (moments[0], signed.body))), given):
        raise mismatch(terms)
    check_age(timestamp, terms)
    return Verified(text_member(signed.body, "id"))
