"""Why a stored request is refused: what storing, proxies and copied secrets do is found out, and no secret is told."""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest

from runtime.authoring.triggers import HttpTrigger
from tests.http.signing import NOW, github, stripe
from triggers.http.signatures import Secret, Signed, Terms
from triggers.http.signatures.explaining import Explanation, explain

BODY = b'{"a": 1,\n "b": "\xc3\xa9"}'
SECRET = "hunter2hunter2"


def signed(body: bytes, headers: dict[str, str]) -> Signed:
    own = {name.encode(): value.encode() for name, value in headers.items()}
    return Signed("POST", b"/in", own, body)


def explained(request: Signed, *secrets: str, scheme: Any = "github", now: float = NOW, **more: Any) -> Explanation:
    names = tuple(f"S{number}" for number in range(len(secrets) or 1))
    trigger = HttpTrigger(method="POST", path="/in", verify=scheme, secret=names)
    held = [Secret(name, value) for name, value in zip(names, secrets, strict=False)]
    found = explain(request, Terms(trigger, held, now, **more))
    told = json.dumps([found.reason, *found.hints])
    for secret in secrets:
        assert secret.strip() not in told
        assert hmac.new(secret.encode(), request.body, "sha256").hexdigest()[:12] not in told
    return found


def test_good_request() -> None:
    """What is good is called so."""
    assert explained(signed(BODY, github(BODY, SECRET)), SECRET).is_good


@pytest.mark.parametrize(
    ("stored", "hint"),
    [
        (BODY + b"\n", "without the newline at the end"),
        (BODY.replace(b"\n", b"\r\n"), "with LF instead of CRLF"),
        (json.dumps(json.loads(BODY)).encode(), ""),
    ],
)
def test_body_that_was_changed(stored: bytes, hint: str) -> None:
    """A change that storing makes is named; one that loses the bytes cannot be."""
    found = explained(signed(stored, github(BODY, SECRET)), SECRET)
    assert (found.is_good, found.code) == (False, "signature-invalid")
    assert hint in " ".join(found.hints)
    assert len(found.hints) == 1


def test_body_that_was_written_again() -> None:
    """A proxy that formats JSON is found out."""
    sent = b'{"a":1,"b":[2]}'
    found = explained(signed(b'{"a": 1, "b": [2]}', {**github(sent, SECRET), "content-length": "15"}), SECRET)
    assert "content-length says 15" in found.hints[0]
    assert "with compact JSON" in found.hints[1]


@pytest.mark.parametrize(("held", "hint"), [(f" {SECRET}\n", "white space"), (f'"{SECRET}"', "quotes")])
def test_secret_that_was_copied_badly(held: str, hint: str) -> None:
    """What came along with the secret is named, by the secret's name."""
    found = explained(signed(BODY, github(BODY, SECRET)), held)
    assert "S0" in found.hints[0]
    assert hint in found.hints[0]


def test_secret_of_another_endpoint() -> None:
    """When nothing helps, the owner is told what to compare."""
    found = explained(signed(BODY, github(BODY, "another")), SECRET)
    assert "has 14 characters" in found.hints[0]


def test_literal_secret_where_base64_is_read() -> None:
    """A sender that takes the secret literally is told from one that follows the specification."""
    key = "literal-secret-"
    signature = base64.b64encode(hmac.digest(key.encode(), b"m.%d.%s" % (NOW, BODY), "sha256")).decode()
    headers = {"webhook-id": "m", "webhook-timestamp": f"{NOW:.0f}", "webhook-signature": f"v1,{signature}"}
    found = explained(signed(BODY, headers), base64.b64encode(b"k" * 24).decode(), scheme="standard_webhooks")
    assert "compare it" in found.hints[0]
    assert "as a literal text" not in " ".join(found.hints)
    reading = base64.b64encode(b"literal-secret!").decode()
    literally = {
        **headers,
        "webhook-signature": "v1,"
        + base64.b64encode(hmac.digest(reading.encode(), b"m.%d.%s" % (NOW, BODY), "sha256")).decode(),
    }
    assert "as a literal text" in explained(signed(BODY, literally), reading, scheme="standard_webhooks").hints[0]


def test_stored_request_is_stale() -> None:
    """Its signature is good all the same, and it is said how to judge it."""
    request = signed(BODY, stripe(BODY, SECRET, NOW))
    found = explained(request, SECRET, scheme="stripe", now=NOW + 86400)
    assert (found.code, "--at" in found.hints[0]) == ("timestamp-out-of-tolerance", True)
    changed = explained(replace(request, body=BODY + b"\n"), SECRET, scheme="stripe", now=NOW + 86400)
    assert "without the newline" in changed.hints[0]


def test_request_of_another_scheme() -> None:
    """Headers that belong to another scheme give it away."""
    found = explained(signed(BODY, stripe(BODY, SECRET, NOW)), SECRET)
    assert found.code == "signature-missing"
    assert "verify=stripe" in found.hints[0]


def test_secret_that_is_missing() -> None:
    """That is the whole explanation."""
    found = explained(signed(BODY, github(BODY, SECRET)))
    assert (found.code, "ONCUE_SECRET_S0" in found.reason, found.hints) == ("verification-unavailable", True, [])


def test_public_url_by_the_other_scheme() -> None:
    """A proxy that ends TLS is found out."""
    signature = base64.b64encode(hmac.digest(SECRET.encode(), b"https://x.example/in", "sha1")).decode()
    request = replace(signed(b"", {"x-twilio-signature": signature}), method="GET")
    found = explained(request, SECRET, scheme="twilio", public_url="http://x.example")
    assert "https://x.example" in found.hints[0]
