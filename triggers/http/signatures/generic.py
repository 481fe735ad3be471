"""`Hmac(header=…, algorithm=…, encoding=…, prefix=…)`: an HMAC of the raw body, for senders without a scheme of their own."""

from __future__ import annotations

from runtime.authoring.routes import Hmac
from triggers.http.signatures.scheme import (
    Signed,
    Terms,
    Verified,
    header,
    in_base64,
    in_hex,
    is_any,
    macs,
    mismatch,
    text_header,
)


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify a request; repeats are told by the header that `delivery=` names."""
    declared = terms.trigger.verify
    assert isinstance(declared, Hmac)
    given = header(signed, declared.header.lower().encode())
    digests, prefix = macs(terms, signed.body, declared.algorithm), declared.prefix.encode()
    if declared.encoding == "hex":
        # Digits in capitals are the same number; the prefix is text, and taken as it is.
        given = given[: len(prefix)] + given[len(prefix) :].lower()
        expected = in_hex(digests, prefix)
    else:
        expected = in_base64(digests, prefix)
    if not is_any(expected, [given]):
        raise mismatch(terms)
    return Verified(text_header(signed, declared.delivery.lower().encode()) if declared.delivery else "")
