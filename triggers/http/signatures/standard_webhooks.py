"""Standard Webhooks 1.0, also as Svix sends them: several signatures over `id.timestamp.body`.

webhook-id: msg_2KWPBgLlAfxdpx2AI54pPJ85f4W
webhook-timestamp: 1674087231
webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= v1a,hnO3f9T8Ytu9HwrX…

A secret `whsec_…` checks `v1` (HMAC-SHA256), a public key `whpk_…` checks `v1a` (Ed25519).
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import binascii
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from triggers.http.signatures.scheme import (
    MisconfiguredError,
    RefusedError,
    Secret,
    Signed,
    Terms,
    Verified,
    check_age,
    decode_key,
    header,
    in_base64,
    is_any,
    mismatch,
    read_timestamp,
)

#: Signatures of one request that are looked at: rotation needs two or three, and each of Ed25519 takes time.
MAX_SIGNATURES = 16

_NAMES = (b"webhook-", b"svix-")


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify a request; its id is the dedupe key, and its timestamp may be off by the route's tolerance."""
    prefix = next((name for name in _NAMES if signed.headers.get(name + b"signature")), _NAMES[0])
    message_id, moment = header(signed, prefix + b"id"), header(signed, prefix + b"timestamp")
    given = header(signed, prefix + b"signature").split()[:MAX_SIGNATURES]
    if b"." in message_id or not message_id.isascii() or not message_id.decode().isprintable():
        # A full stop would let a part of the body pass for the timestamp ("Signature scheme" in the specification).
        raise RefusedError("signature-invalid", f"the header {(prefix + b'id').decode()} holds what no id may hold")
    timestamp = read_timestamp(moment)
    message = b"%s.%s.%s" % (message_id, moment, signed.body)
    symmetric = [secret for secret in terms.secrets if not secret.value.lstrip().startswith(("whpk_", "whsk_"))]
    expected = in_base64(hmac.digest(decode_key(secret, "whsec_"), message, "sha256") for secret in symmetric)
    is_good = is_any(expected, [entry[3:] for entry in given if entry.startswith(b"v1,")])
    asymmetric = [_public_key(secret) for secret in terms.secrets if secret not in symmetric]
    if not is_good and asymmetric:
        is_good = any(_is_signed(key, entry[4:], message) for key in asymmetric for entry in given if entry.startswith(b"v1a,"))
    if not is_good:
        raise mismatch(terms)
    check_age(timestamp, terms)
    return Verified(message_id.decode())


def _public_key(secret: Secret) -> Ed25519PublicKey:
    if secret.value.lstrip().startswith("whsk_"):
        raise MisconfiguredError(
            f"the secret {secret.name} is the sender's private key; set its public one, which begins with whpk_"
        )
    try:
        return Ed25519PublicKey.from_public_bytes(decode_key(secret, "whpk_"))
    except ValueError:
        raise MisconfiguredError(f"the secret {secret.name} is no Ed25519 public key of 32 bytes") from None


def _is_signed(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(binascii.a2b_base64(signature, strict_mode=True), message)
    except (InvalidSignature, ValueError):
        return False
    return True
