"""Signature schemes beyond their vectors: rotation, replay windows, dedupe keys, handshakes, and whatever a sender may get wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.authoring.routes import Hmac
from runtime.authoring.triggers import HttpTrigger
from tests.http.signing import NOW, check, github, slack, stripe
from triggers.http.signatures import MisconfiguredError, RefusedError, Signed, Terms, verify

BODY = b'{"id": "evt_1", "n": 1}'
KEY = base64.b64encode(b"k" * 32).decode()
WHSEC = f"whsec_{KEY}"


def standard(
    body: bytes = BODY, secret: str = WHSEC, id: str = "msg_1", at: float = NOW, prefix: str = "webhook"
) -> dict[str, str]:
    """The headers of Standard Webhooks, by its own package."""
    moment = datetime.fromtimestamp(at, UTC)
    signature = standardwebhooks.Webhook(secret).sign(msg_id=id, timestamp=moment, data=body.decode())
    return {f"{prefix}-id": id, f"{prefix}-timestamp": str(int(at)), f"{prefix}-signature": signature}


def refusal(*arguments: Any, **more: Any) -> str:
    """The code with which a request is refused."""
    with pytest.raises(RefusedError) as refused:
        check(*arguments, **more)
    assert refused.value.status == 401
    return refused.value.code


def problem(*arguments: Any, **more: Any) -> str:
    """Why this host cannot verify."""
    with pytest.raises(MisconfiguredError) as found:
        check(*arguments, **more)
    assert found.value.status == 503
    return found.value.detail


class TestStandardWebhooks:
    """Also as Svix and GitLab send them."""

    def test_sender_of_the_reference_package(self) -> None:
        """What the reference package signs is taken, and its id tells repeats; Svix's names mean the same."""
        assert check("standard_webhooks", standard(), BODY, WHSEC).delivery == "msg_1"
        assert check("standard_webhooks", standard(prefix="svix"), BODY, WHSEC).delivery == "msg_1"

    @pytest.mark.parametrize("secret", [KEY, KEY.rstrip("="), WHSEC.rstrip("="), f" {WHSEC}\n"])
    def test_spellings_of_a_secret(self, secret: str) -> None:
        """Prefix and padding may be left out, as the reference allows."""
        check("standard_webhooks", standard(), BODY, secret)

    def test_rotation(self) -> None:
        """Any of our secrets may match any of the signatures."""
        old = "whsec_" + base64.b64encode(b"o" * 24).decode()
        both = standard()
        both["webhook-signature"] = standard(secret=old)["webhook-signature"] + " " + both["webhook-signature"]
        assert check("standard_webhooks", standard(secret=old), BODY, WHSEC, old).delivery
        assert check("standard_webhooks", both, BODY, WHSEC).delivery
        assert refusal("standard_webhooks", standard(secret=old), BODY, WHSEC) == "signature-invalid"

    @pytest.mark.parametrize("off", [-301, 301])
    def test_replay_window(self, off: int) -> None:
        """Beyond the tolerance, in either direction, a good signature is stale; a bad one is bad first."""
        assert check("standard_webhooks", standard(at=NOW + off * 0.99), BODY, WHSEC)
        assert refusal("standard_webhooks", standard(at=NOW + off), BODY, WHSEC) == "timestamp-out-of-tolerance"
        assert refusal("standard_webhooks", standard(at=NOW + off), BODY + b" ", WHSEC) == "signature-invalid"
        assert check("standard_webhooks", standard(at=NOW + off), BODY, WHSEC, tolerance_s=400)

    def test_ed25519(self) -> None:
        """A public key checks `v1a`, and never stands in for an HMAC's key."""
        private = Ed25519PrivateKey.generate()
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        public = "whpk_" + base64.b64encode(raw).decode()
        signature = base64.b64encode(private.sign(b"msg_1.%d.%s" % (NOW, BODY))).decode()
        headers = {**standard(), "webhook-signature": f"v1,AAAA v1a,{signature}"}
        assert check("standard_webhooks", headers, BODY, public).delivery == "msg_1"
        assert check("standard_webhooks", headers, BODY, WHSEC, public).delivery == "msg_1"
        assert refusal("standard_webhooks", headers, BODY + b" ", public) == "signature-invalid"
        assert refusal("standard_webhooks", {**headers, "webhook-signature": f"v1,{signature}"}, BODY, public)
        forged = {
            **headers,
            "webhook-signature": "v1," + base64.b64encode(hmac.digest(raw, b"msg_1.%d.%s" % (NOW, BODY), "sha256")).decode(),
        }
        assert refusal("standard_webhooks", forged, BODY, public) == "signature-invalid"

    @pytest.mark.parametrize(
        "change",
        [
            {"webhook-id": ""},
            {"webhook-timestamp": ""},
            {"webhook-signature": ""},
            {"webhook-id": "msg.1"},
            {"webhook-timestamp": f"+{NOW:.0f}"},
            {"webhook-timestamp": f"{NOW:.1f}"},
            {"webhook-timestamp": "9" * 400},
            {"webhook-timestamp": "²"},
            {"webhook-signature": "v1"},
            {"webhook-signature": "v1,"},
            {"webhook-signature": "v1,%%% v1a,%%% , ,,"},
        ],
    )
    def test_malformed_headers(self, change: dict[str, str]) -> None:
        """What is malformed is a bad signature, never an error of ours."""
        assert refusal("standard_webhooks", {**standard(), **change}, BODY, WHSEC).startswith("signature-")

    def test_delimiters_that_wander(self) -> None:
        """A part of the body cannot pass for the timestamp."""
        headers = standard(body=f"{NOW:.0f}.x".encode())
        moved = {**headers, "webhook-id": f"msg_1.{NOW:.0f}"}
        assert refusal("standard_webhooks", moved, b"x", WHSEC) == "signature-invalid"

    @pytest.mark.parametrize("secret", ["whsec_", "whsec_%%%", "whsk_" + KEY, "whpk_" + KEY[:8], "whpk_"])
    def test_secret_that_cannot_be_used(self, secret: str) -> None:
        """It is a problem of this host, told by the secret's name and nothing of its value."""
        told = problem("standard_webhooks", standard(), BODY, secret)
        assert "SECRET_0" in told
        assert secret.partition("_")[2] == "" or secret not in told


class TestProviders:
    """Each provider's own way."""

    def test_github(self) -> None:
        """The delivery's id tells repeats; a form has its JSON in `payload`."""
        form = b"payload=%7B%22action%22%3A+%22opened%22%7D"
        assert check("github", github(BODY, "s", **{"x-github-delivery": "d-1"}), BODY, "other", "s").delivery == "d-1"
        wrapped = check("github", github(form, "s", **{"content-type": "application/x-www-form-urlencoded"}), form, "s")
        assert wrapped.document == b'{"action": "opened"}'
        assert refusal("github", {}, BODY, "s") == "signature-missing"
        assert refusal("github", github(BODY, "S"), BODY, "s") == "signature-invalid"
        right = github(BODY, "s")["x-hub-signature-256"]
        for wrong in (right[7:], right.upper(), f"sha256={right[7:].upper()}", f"{right},{right}", "sha256="):
            assert refusal("github", {"x-hub-signature-256": wrong}, BODY, "s") == "signature-invalid"
        sha1 = {"x-hub-signature": "sha1=" + hmac.new(b"s", BODY, "sha1").hexdigest()}
        assert refusal("github", sha1, BODY, "s") == "signature-missing"

    def test_stripe(self) -> None:
        """The event's id tells repeats, the secret is literal, and `v0` counts for nothing."""
        headers = stripe(BODY, WHSEC, NOW)
        assert check("stripe", headers, BODY, WHSEC).delivery == "evt_1"
        value = headers["stripe-signature"]
        rolled = {"stripe-signature": value.replace("v1=", f"v1={'0' * 64},v1=", 1)}
        assert check("stripe", rolled, BODY, WHSEC).delivery == "evt_1"
        assert refusal("stripe", {"stripe-signature": value.replace("v1", "v0")}, BODY, WHSEC) == "signature-invalid"
        assert refusal("stripe", stripe(BODY, WHSEC, NOW - 301), BODY, WHSEC) == "timestamp-out-of-tolerance"
        assert refusal("stripe", stripe(BODY, WHSEC, NOW + 301), BODY, WHSEC) == "timestamp-out-of-tolerance"
        for broken in ("", "t=1", "v1=00", "t=1,t=1,v1=00", "nonsense", "t=x,v1=00", "=,=,="):
            assert refusal("stripe", {"stripe-signature": broken}, BODY, WHSEC).startswith("signature-")

    def test_slack(self) -> None:
        """An event's id tells repeats, and for what has none its signature; the challenge is answered only once verified."""
        event = b'{"type": "event_callback", "event_id": "Ev1"}'
        assert check("slack", slack(event, "s", NOW), event, "s").delivery == "Ev1"
        command = b"command=%2Fgo&text=x"
        form = "application/x-www-form-urlencoded"
        first = check("slack", slack(command, "s", NOW, form), command, "s").delivery
        assert first == check("slack", slack(command, "s", NOW, form), command, "s").delivery
        assert first != check("slack", slack(command, "s", NOW + 1, form), command, "s").delivery
        press = b"payload=%7B%22type%22%3A%22block_actions%22%7D"
        assert check("slack", slack(press, "s", NOW, form), press, "s").document == b'{"type":"block_actions"}'
        challenge = b'{"type": "url_verification", "challenge": "3eZb"}'
        answer = check("slack", slack(challenge, "s", NOW), challenge, "s").answer
        assert answer is not None
        assert (answer.status, answer.body, answer.media_type) == (200, b"3eZb", b"text/plain; charset=utf-8")
        assert refusal("slack", slack(challenge, "other", NOW), challenge, "s") == "signature-invalid"
        assert refusal("slack", slack(event, "s", NOW - 301), event, "s") == "timestamp-out-of-tolerance"

    def test_shopify(self) -> None:
        """The event's id tells repeats within its topic."""
        own = {"x-shopify-hmac-sha256": base64.b64encode(hmac.digest(b"s", BODY, "sha256")).decode()}
        headers = {**own, "x-shopify-event-id": "e-1", "x-shopify-topic": "orders/paid"}
        assert check("shopify", headers, BODY, "s").delivery == "orders/paid:e-1"
        assert check("shopify", {**own, "x-shopify-webhook-id": "w-1"}, BODY, "s").delivery == "w-1"
        assert refusal("shopify", headers, BODY + b" ", "s") == "signature-invalid"

    def test_gitlab(self) -> None:
        """A token is compared; a signature counts where there is a signing token, and no token stands in for it."""
        assert check("gitlab", {"x-gitlab-token": "t", "idempotency-key": "i"}, BODY, "t").delivery == "i"
        assert check("gitlab", {"x-gitlab-token": "t", "x-gitlab-event-uuid": "u"}, BODY, "t").delivery == "u"
        assert refusal("gitlab", {"x-gitlab-token": "T"}, BODY, "t") == "signature-invalid"
        assert check("gitlab", standard(), BODY, WHSEC).delivery == "msg_1"
        assert check("gitlab", {**standard(), "x-gitlab-token": "t"}, BODY, "t", WHSEC).delivery == "msg_1"
        forged = {**standard(body=b"other"), "x-gitlab-token": "t"}
        assert refusal("gitlab", forged, BODY, "t", WHSEC) == "signature-invalid"
        assert refusal("gitlab", {"x-gitlab-token": WHSEC}, BODY, WHSEC) == "signature-missing"

    def test_twilio(self) -> None:
        """The configured URL is signed, with or without its port, and nothing that the caller claims."""
        form = b"To=%2B1800&Body=a+b%26c&Empty="
        fields = b"Bodya b&cEmptyTo+1800"

        def sign(url: str, more: bytes = b"") -> str:
            return base64.b64encode(hmac.digest(b"s", url.encode() + more, "sha1")).decode()

        def headers(url: str, more: bytes = fields, media_type: str = "application/x-www-form-urlencoded") -> dict[str, str]:
            return {"x-twilio-signature": sign(url, more), "content-type": media_type, "host": "evil.example"}

        place: dict[str, Any] = {"target": "/in?a=1%202", "public_url": "https://hooks.example.org"}
        for base in ("https://hooks.example.org", "https://hooks.example.org:443"):
            own = {**headers(f"{base}/in?a=1%202"), "i-twilio-idempotency-token": "tok"}
            assert check("twilio", own, form, "s", **place).delivery == "tok"
        assert refusal("twilio", headers("https://evil.example/in?a=1%202"), form, "s", **place) == "signature-invalid"
        assert refusal("twilio", headers("https://hooks.example.org/in?a=1%202"), form + b"&x=1", "s", **place)
        digest = f"/in?bodySHA256={hashlib.sha256(BODY).hexdigest()}"
        signed = headers("https://hooks.example.org" + digest, b"", "application/json")
        assert check("twilio", signed, BODY, "s", public_url="https://hooks.example.org", target=digest)
        assert refusal("twilio", signed, BODY + b" ", "s", public_url="https://hooks.example.org", target=digest)
        unsigned = headers("https://hooks.example.org/in", b"", "application/json")
        assert refusal("twilio", unsigned, BODY, "s", public_url="https://hooks.example.org")
        assert "ONCUE_PUBLIC_URL" in problem("twilio", headers("https://hooks.example.org/in"), form, "s")

    @pytest.mark.parametrize(
        ("public_url", "target", "form", "signed"),
        [
            ("https://x.example", "/in", b"b=&a=2&a=1&a=1", "https://x.example/ina1a2b"),
            ("https://x.example", "/in", b"B=1&a=2&A=3", "https://x.example/inA3B1a2"),
            ("https://x.example:8443", "/in?a=%20", b"", "https://x.example:8443/in?a=%20"),
            ("https://x.example:8443", "/in", b"", "https://x.example/in"),
            ("https://x.example/base/", "/in", b"a=1", "https://x.example/base/ina1"),
        ],
    )
    def test_twilio_as_its_libraries_sign(self, public_url: str, target: str, form: bytes, signed: str) -> None:
        """Fields by name and then by value, each value once; with or without the port, and below the path of a proxy."""
        signature = base64.b64encode(hmac.digest(b"s", signed.encode(), "sha1")).decode()
        headers = {"x-twilio-signature": signature, "content-type": "application/x-www-form-urlencoded"}
        assert check("twilio", headers, form, "s", target=target, public_url=public_url)
        assert refusal("twilio", headers, form, "s", target=target + "x", public_url=public_url) == "signature-invalid"

    @pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
    def test_generic_hmac(self, algorithm: Any) -> None:
        """Algorithm, encoding, prefix and the header of the delivery's id are the author's to say."""
        digest = hmac.digest(b"s", BODY, algorithm)
        hexed = Hmac(header="X-Sig", algorithm=algorithm, prefix="Sig=", delivery="X-Id")
        assert check(hexed, {"x-sig": "Sig=" + digest.hex(), "x-id": "7"}, BODY, "s").delivery == "7"
        assert check(hexed, {"x-sig": "Sig=" + digest.hex().upper()}, BODY, "s").delivery == ""
        assert refusal(hexed, {"x-sig": digest.hex()}, BODY, "s") == "signature-invalid"
        based = Hmac(header="X-Sig", algorithm=algorithm, encoding="base64")
        assert check(based, {"x-sig": base64.b64encode(digest).decode()}, BODY, "s")
        assert refusal(based, {"x-sig": digest.hex()}, BODY, "s") == "signature-invalid"
        assert refusal(based, {}, BODY, "s") == "signature-missing"

    def test_basic(self) -> None:
        """User and password match as one; who comes without is told how."""
        headers = {"authorization": "Basic " + base64.b64encode("zoë:p:w".encode()).decode()}
        assert check("basic", headers, BODY, "a:b", "zoë:p:w")
        assert refusal("basic", headers, BODY, "a:b") == "signature-invalid"
        assert refusal("basic", {"authorization": "Bearer x"}, BODY, "a:b") == "signature-missing"
        assert refusal("basic", {"authorization": "Basic %%%"}, BODY, "a:b") == "signature-invalid"
        with pytest.raises(RefusedError) as refused:
            check("basic", {}, BODY, "a:b")
        assert dict(refused.value.headers)[b"www-authenticate"].startswith(b"Basic ")
        assert "SECRET_0" in problem("basic", headers, BODY, "nocolon")

    def test_api_key(self) -> None:
        """The key is in X-API-Key, or where the route says; a bearer token is one, too."""
        assert check("api_key", {"x-api-key": "k"}, BODY, "old", "k")
        assert check("api_key", {"x-own": "k"}, BODY, "k", header="X-Own")
        assert check("api_key", {"authorization": "bearer k"}, BODY, "k", header="Authorization")
        assert refusal("api_key", {"x-api-key": "K"}, BODY, "k") == "signature-invalid"
        assert refusal("api_key", {"x-api-key": "k"}, BODY, "k", header="X-Own") == "signature-missing"

    def test_cloudevents_token(self) -> None:
        """A route of CloudEvents with a secret wants it as a bearer token, once."""
        assert check("cloudevents", {}, BODY)
        assert check("cloudevents", {"authorization": "Bearer k"}, BODY, "k")
        assert check("cloudevents", {}, BODY, "k", target="/in?access_token=k")
        assert refusal("cloudevents", {}, BODY, "k") == "signature-missing"
        assert (
            refusal("cloudevents", {"authorization": "Bearer k"}, BODY, "k", target="/in?access_token=k") == "signature-missing"
        )
        assert refusal("cloudevents", {"authorization": "Bearer K"}, BODY, "k") == "signature-invalid"


NAMES = [
    *("webhook-id", "webhook-timestamp", "webhook-signature", "svix-id", "svix-timestamp", "svix-signature"),
    *("x-hub-signature-256", "x-github-delivery", "stripe-signature", "x-slack-signature", "x-slack-request-timestamp"),
    *("x-shopify-hmac-sha256", "x-twilio-signature", "x-gitlab-token", "x-sig", "authorization", "x-api-key", "content-type"),
]
VALUES = st.one_of(
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=60),
    st.sampled_from(
        ["v1,", "v1a,", "v0=", "sha256=", "t=,v1=", f"t={NOW:.0f},v1=é", "Basic ", "Bearer ", "1700000000", "-1", "1e9"]
    ),
    st.binary(max_size=40).map(lambda raw: "v1a," + base64.b64encode(raw).decode()),
)
PUBLIC = "whpk_" + base64.b64encode(b"\x01" * 32).decode()
SECRETS = {"standard_webhooks": (WHSEC, PUBLIC), "gitlab": (WHSEC, "t"), "basic": ("a:b",)}


@pytest.mark.parametrize(
    "scheme",
    [
        "standard_webhooks",
        "github",
        "stripe",
        "slack",
        "shopify",
        "twilio",
        "gitlab",
        "basic",
        "api_key",
        "cloudevents",
        Hmac(header="X-Sig", prefix="s="),
    ],
    ids=str,
)
@settings(max_examples=150, deadline=None)
@given(headers=st.dictionaries(st.sampled_from(NAMES), VALUES), body=st.binary(max_size=60))
def test_whatever_headers_arrive(scheme: Any, headers: dict[str, str], body: bytes) -> None:
    """Nobody without the secret is let in, and nothing but a refusal comes of trying."""
    with pytest.raises(RefusedError):
        check(
            scheme,
            headers,
            body,
            *SECRETS.get(scheme if isinstance(scheme, str) else "", ("s3cret-of-ours",)),
            public_url="https://x.example",
        )


def test_refusals_tell_no_secret() -> None:
    """Neither the secret nor what would have been right is in any answer."""
    right = github(BODY, "hunter2")["x-hub-signature-256"]
    with pytest.raises(RefusedError) as refused:
        check("github", {"x-hub-signature-256": "sha256=00"}, BODY, "hunter2")
    document = json.loads(refused.value.answer("/in", "r").body)
    assert "SECRET_0" in document["detail"]
    assert "hunter2" not in json.dumps(document)
    assert right[7:20] not in json.dumps(document)


def test_route_without_its_secret() -> None:
    """A secret that this host does not have is named, with the variable to set; nobody is let in."""
    trigger = HttpTrigger(method="POST", path="/in", verify="github", secret=("NEW", "OLD"))
    with pytest.raises(MisconfiguredError, match="ONCUE_SECRET_NEW"):
        verify(Signed("POST", b"/in", {}, b""), Terms(trigger, [], NOW)).send(None)
