"""Amazon SNS: RSA signatures (version 1: SHA-1, 2: SHA-256) in the JSON of the message itself.

{"Type": "Notification", "MessageId": "22b8…", "TopicArn": "arn:aws:sns:us-east-1:123456789012:orders", "Message": "…",
 "Timestamp": "2026-01-31T09:00:00.000Z", "SignatureVersion": "2", "Signature": "…", "SigningCertURL": "https://sns.…"}

Anybody's topic has a valid signature, so the route lists its own. A message is refused once the ledger may have forgotten
that it came before. https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import binascii
from datetime import datetime
from typing import Any

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from triggers.http.answers import json_answer
from triggers.http.signatures.certificates import Certificates
from triggers.http.signatures.scheme import RefusedError, Signed, Terms, Verified, check_age, mismatch
from triggers.http.signatures.texts import as_id, read_object

#: Seconds a message may be old: repeats are known for a day, and Amazon gives up after an hour.
OLDEST_S = 86400.0

_HASHES: dict[object, HashAlgorithm] = {
    "1": SHA1(),  # noqa: S303  # what Amazon signs with, unless the topic says version 2
    "2": SHA256(),
}
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}


async def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify a message; answer a subscription's confirmation, which is opened when the route says `confirm=True`."""
    message = read_object(signed.body)
    kind, topic = message.get("Type"), message.get("TopicArn")
    text = _text_to_sign(message)
    if topic not in terms.trigger.topics:
        raise RefusedError("signature-invalid", "the message is of a topic that this route does not list")
    certificates = terms.certificates or Certificates()
    key = await certificates.key(message.get("SigningCertURL"))
    try:
        signature = binascii.a2b_base64(str(message.get("Signature")), strict_mode=True)
        key.verify(signature, text, PKCS1v15(), _HASHES[message["SignatureVersion"]])
    except (InvalidSignature, ValueError):
        raise mismatch(terms) from None
    check_age(_moment(message["Timestamp"]), terms, OLDEST_S)
    if kind == "Notification":
        # It comes as text/plain.
        return Verified(as_id(message["MessageId"]), document=signed.body)
    if kind == "SubscriptionConfirmation" and terms.trigger.confirm:
        await certificates.confirm(message["SubscribeURL"])
        return Verified(answer=json_answer(200, {"confirmed": topic}))
    structlog.get_logger("oncue.http").warning(
        "an SNS topic asks to be confirmed; say confirm=True at the route, or open its SubscribeURL"
        if kind == "SubscriptionConfirmation"
        else "an SNS topic is no longer subscribed",
        route=terms.trigger.path,
        topic=topic,
    )
    return Verified(answer=json_answer(200, {"ignored": True}))


def _text_to_sign(message: dict[str, Any]) -> bytes:
    names = _SIGNED.get(str(message.get("Type")), ())
    present = [name for name in names if name != "Subject" or message.get("Subject") is not None]
    if not names or message.get("SignatureVersion") not in ("1", "2"):
        raise RefusedError("signature-missing", "the body is no signed message of Amazon SNS")
    if not all(isinstance(message.get(name), str) for name in present):
        raise RefusedError("signature-invalid", "the message lacks a part that is signed")
    return "".join(f"{name}\n{message[name]}\n" for name in present).encode()


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RefusedError("signature-invalid", "the timestamp of the message is no time")
    return moment.timestamp()
