"""Twilio: `X-Twilio-Signature: <base64 HMAC-SHA1>` over the URL and the sorted fields of the form.

The URL is the one that the operator says senders use (ONCUE_PUBLIC_URL): what a proxy or a Host header claims is the
caller's to choose. A body that is no form is signed by its digest, in the query's `bodySHA256`.
https://www.twilio.com/docs/usage/security#validating-requests
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from triggers.http.signatures.forms import is_form, read_form
from triggers.http.signatures.scheme import (
    MisconfiguredError,
    RefusedError,
    Signed,
    Terms,
    Verified,
    header,
    in_base64,
    is_any,
    macs,
    mismatch,
    text_header,
)

_PORTS = {"http": 80, "https": 443}
#: Fields of a form that are looked at; Twilio sends some dozens.
MAX_FIELDS = 1000


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify a request; repeats are told by Twilio's idempotency token."""
    given = header(signed, b"x-twilio-signature")
    if terms.public_url is None:
        raise MisconfiguredError("Twilio signs the URL it calls; set ONCUE_PUBLIC_URL to it, as in https://hooks.example.org")
    signed_fields = b""
    if is_form(signed):
        if signed.body.count(b"&") >= MAX_FIELDS:
            raise RefusedError("signature-invalid", f"the form has more than {MAX_FIELDS} fields")
        # A field that repeats is signed once for each of its values, in their order (twilio-python, RequestValidator).
        signed_fields = b"".join(name + value for name, value in sorted(set(read_form(signed.body))))
    elif signed.body and not _is_digest_of(signed.body, signed.target):
        raise RefusedError("signature-invalid", "the body is no form, and the query's bodySHA256 is not its digest")
    urls = _spellings(urlsplit(terms.public_url), signed.target)
    expected = [text for url in urls for text in in_base64(macs(terms, url + signed_fields, "sha1"))]
    if not is_any(expected, [given]):
        raise mismatch(terms)
    return Verified(text_header(signed, b"i-twilio-idempotency-token"))


def _is_digest_of(body: bytes, target: bytes) -> bool:
    given = [value for name, value in read_form(target.partition(b"?")[2]) if name == b"bodySHA256"]
    expected = hashlib.sha256(body).hexdigest().encode()
    return len(given) == 1 and hmac.compare_digest(expected, given[0].lower())


def _spellings(base: SplitResult, target: bytes) -> Iterator[bytes]:
    """Yield the URL with and without its port: Twilio signs either, depending on the product."""
    host = base.hostname or ""
    host = f"[{host}]" if ":" in host else host
    for port in ("", f":{base.port or _PORTS.get(base.scheme, 443)}"):
        yield f"{base.scheme}://{host}{port}{base.path.rstrip('/')}".encode() + target
