"""HTTP Basic authentication (RFC 7617): the secret is "user:password"."""

from __future__ import annotations

import binascii

from triggers.http.signatures.scheme import MisconfiguredError, RefusedError, Signed, Terms, Verified, is_any

_CHALLENGE = [(b"www-authenticate", b'Basic realm="oncue", charset="UTF-8"')]


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify who calls. Nothing is signed and nothing tells repeats: use it over TLS, from senders that can do no better."""
    for secret in terms.secrets:
        if ":" not in secret.value:
            raise MisconfiguredError(f'the secret {secret.name} is not of the form "user:password"')
    name, _, encoded = signed.headers.get(b"authorization", b"").strip().partition(b" ")
    if name.lower() != b"basic":
        raise RefusedError("signature-missing", "the header authorization is missing, or not Basic", _CHALLENGE)
    try:
        given = binascii.a2b_base64(encoded.strip(), strict_mode=True)
    except ValueError:
        given = b""
    if not is_any([secret.value.encode() for secret in terms.secrets], [given]):
        raise RefusedError("signature-invalid", "the user or the password is wrong", _CHALLENGE)
    return Verified()
