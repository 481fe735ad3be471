"""Published signature vectors: each is judged as its source says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from runtime.authoring.routes import Hmac
from tests.http.signing import NOW, check
from triggers.http.signatures import RefusedError

FILES = [Path(__file__).parent / "vectors" / name for name in ("webhooks.json", "libraries.json")]
VECTORS = [vector for file in FILES for vector in json.loads(file.read_text())["vectors"]]

SCHEMES: dict[str, Any] = {
    "standard-webhooks": "standard_webhooks",
    "svix": "standard_webhooks",
    "hmac-sha512-hex": Hmac(header="X-Convoy-Signature", algorithm="sha512"),
    "adnanh-sha1": Hmac(header="X-Hub-Signature", algorithm="sha1"),
}


def signed_ones() -> list[dict[str, Any]]:
    """The vectors that hold a signature; the others describe one, and have tests of their own."""
    return [vector for vector in VECTORS if "expect" in vector]


def judge(vector: dict[str, Any]) -> str:
    scheme = SCHEMES.get(vector["id"], SCHEMES.get(vector["scheme"], vector["scheme"]))
    place: dict[str, Any] = {}
    headers, body = vector["headers"], vector.get("body", "").encode()
    if "url" in vector:
        parts = urlsplit(vector["url"])
        place = {"public_url": f"{parts.scheme}://{parts.netloc}", "target": f"{parts.path}?{parts.query}"}
        if "form" in vector:
            headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode([tuple(field) for field in vector["form"]]).encode()
    try:
        check(scheme, headers, body, vector["secret"], now=vector.get("now", NOW), **place)
    except RefusedError:
        return "invalid"
    return "valid"


@pytest.mark.parametrize("vector", signed_ones(), ids=lambda vector: vector["id"])
def test_published_vector(vector: dict[str, Any]) -> None:
    """Whoever published the vector and this edge agree on it."""
    assert judge(vector) == vector["expect"]


@pytest.mark.parametrize(
    "vector", [each for each in signed_ones() if each["expect"] == "valid" and "body" in each], ids=lambda vector: vector["id"]
)
def test_published_vector_with_another_body_or_secret(vector: dict[str, Any]) -> None:
    """A byte more, or another secret, makes a valid vector invalid."""
    other = {**vector, "secret": "whsec_" + "A" * 32}
    assert judge(other) == "invalid"
    if vector["id"] != "gitlab-token":  # a token says nothing of the body
        assert judge({**vector, "body": vector["body"] + " "}) == "invalid"


def test_every_scheme_of_the_vectors_is_known() -> None:
    """No vector is passed over but those that hold no signature."""
    assert [vector["id"] for vector in VECTORS if "expect" not in vector] == ["gitlab-signing-token", "sns"]
