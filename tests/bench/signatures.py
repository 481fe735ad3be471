"""What checking a webhook's signature adds to its accept: each scheme over a body of 1 KB, in this process."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runtime import Hmac
from runtime.authoring.triggers import HttpTrigger
from triggers.http.signatures import Secret, Signed, Terms, verify
from triggers.http.signatures.certificates import Certificates

_NOW = 1_700_000_000
_BODY = json.dumps({"id": "evt_1", "data": "x" * 1000}).encode()
_FORM = b"&".join(b"Field%d=a%%20value%d" % (n, n) for n in range(10, 53))
_URL = "https://hooks.example.org"
_TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
_CERTIFICATE = "https://sns.us-east-1.amazonaws.com/a.pem"


def checks_us(laps: int = 2000) -> dict[str, list[float]]:
    """Return the microseconds of each scheme's checks."""
    return asyncio.run(_measure(laps))


async def _measure(laps: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    key = rsa.generate_private_key(65537, 2048)
    certificates = Certificates()
    certificates._keys[_CERTIFICATE] = key.public_key()
    for name, (scheme, headers, body, secret) in {**_requests(), "sns": ("sns", {}, _notification(key), "")}.items():
        more: dict[str, Any] = {"topics": (_TOPIC,)} if scheme == "sns" else {"secret": ("S",)}
        trigger = HttpTrigger(method="POST", path="/in", verify=scheme, **more)
        terms = Terms(trigger, [Secret("S", secret)] if secret else [], _NOW, _URL, certificates)
        signed = Signed("POST", b"/in", {name.encode(): value.encode() for name, value in headers.items()}, body)
        times = found[name] = []
        for _ in range(laps):
            begun = time.perf_counter()
            await verify(signed, terms)
            times.append((time.perf_counter() - begun) * 1e6)
    return found


def _requests() -> dict[str, tuple[str | Hmac, Mapping[str, str], bytes, str]]:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + _base64(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    message = b"msg_1.%d.%s" % (_NOW, _BODY)
    standard = {"webhook-id": "msg_1", "webhook-timestamp": f"{_NOW}"}
    fields = b"".join(b"Field%da value%d" % (n, n) for n in range(10, 53))
    slack = _mac(b"v0:%d:%s" % (_NOW, _BODY)).hex()
    twilio = _base64(hmac.digest(b"s", f"{_URL}/in".encode() + fields, "sha1"))
    form = {"content-type": "application/x-www-form-urlencoded"}
    return {
        "standard v1": (
            "standard_webhooks",
            {**standard, "webhook-signature": f"v1,{_base64(_mac(message))}"},
            _BODY,
            "whsec_cw",
        ),
        "standard v1a": (
            "standard_webhooks",
            {**standard, "webhook-signature": f"v1a,{_base64(private.sign(message))}"},
            _BODY,
            public,
        ),
        "github": ("github", {"x-hub-signature-256": f"sha256={_mac(_BODY).hex()}"}, _BODY, "s"),
        "stripe": ("stripe", {"stripe-signature": f"t={_NOW},v1={_mac(b'%d.%s' % (_NOW, _BODY)).hex()}"}, _BODY, "s"),
        "slack": ("slack", {"x-slack-request-timestamp": f"{_NOW}", "x-slack-signature": f"v0={slack}"}, _BODY, "s"),
        "shopify": ("shopify", {"x-shopify-hmac-sha256": _base64(_mac(_BODY))}, _BODY, "s"),
        "twilio": ("twilio", {**form, "x-twilio-signature": twilio}, _FORM, "s"),
        "gitlab": ("gitlab", {"x-gitlab-token": "s"}, _BODY, "s"),
        "hmac": (Hmac(header="X-Sig"), {"x-sig": _mac(_BODY).hex()}, _BODY, "s"),
        "basic": ("basic", {"authorization": f"Basic {_base64(b'u:p')}"}, _BODY, "u:p"),
        "api_key": ("api_key", {"x-api-key": "s"}, _BODY, "s"),
    }


def _notification(key: rsa.RSAPrivateKey) -> bytes:
    fields = {
        "Message": "x" * 600,
        "MessageId": "m",
        "Timestamp": "2023-11-14T22:13:20Z",
        "TopicArn": _TOPIC,
        "Type": "Notification",
    }
    text = "".join(f"{name}\n{value}\n" for name, value in fields.items())
    signature = _base64(key.sign(text.encode(), padding.PKCS1v15(), SHA256()))
    return json.dumps({**fields, "SignatureVersion": "2", "Signature": signature, "SigningCertURL": _CERTIFICATE}).encode()


def _mac(message: bytes) -> bytes:
    return hmac.digest(b"s", message, "sha256")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
