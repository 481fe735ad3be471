"""Requests as their senders sign them, for the tests of signatures."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

from runtime.authoring.triggers import HttpTrigger
from triggers.http.signatures import Secret, Signed, Terms, Verified, verify
from triggers.http.signatures.certificates import Certificates

NOW = 1_700_000_000.0


def check(
    scheme: Any,
    headers: Mapping[str, str],
    body: bytes = b"{}",
    *secrets: str,
    now: float = NOW,
    method: str = "POST",
    target: str = "/in",
    public_url: str | None = None,
    certificates: Certificates | None = None,
    **options: Any,
) -> Verified:
    """Verify one request by one scheme, as the edge does."""
    names = tuple(f"SECRET_{number}" for number in range(len(secrets)))
    trigger = HttpTrigger(method=method, path="/in", verify=scheme, secret=names, **options)
    own = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in headers.items()}
    held = [Secret(name, value) for name, value in zip(names, secrets, strict=True)]
    terms = Terms(trigger, held, now, public_url, certificates)
    return asyncio.run(_verify(Signed(method, target.encode(), own, body), terms))


async def _verify(signed: Signed, terms: Terms) -> Verified:
    return await verify(signed, terms)


def github(body: bytes, secret: str, **more: str) -> dict[str, str]:
    """The headers of GitHub."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-hub-signature-256": f"sha256={digest}", "content-type": "application/json", **more}


def stripe(body: bytes, secret: str, at: float | None = None) -> dict[str, str]:
    """The headers of Stripe."""
    moment = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={moment},v1={digest},v0=00", "content-type": "application/json"}


def slack(body: bytes, secret: str, at: float | None = None, media_type: str = "application/json") -> dict[str, str]:
    """The headers of Slack."""
    moment = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), f"v0:{moment}:".encode() + body, hashlib.sha256).hexdigest()
    return {"x-slack-signature": f"v0={digest}", "x-slack-request-timestamp": moment, "content-type": media_type}
