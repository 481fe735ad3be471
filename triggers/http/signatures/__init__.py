"""Webhook signatures: one small file a scheme. A request is verified over its raw body, before anything reads it.

A scheme is a function `(signed, terms) -> Verified` that raises `RefusedError`; it brings its sender's dedupe key, its
replay window and its handshake. Most come down to a few lines: see `github.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtime.authoring.routes import Hmac
from triggers.http.signatures import (
    api_key,
    basic,
    bearer,
    generic,
    github,
    gitlab,
    shopify,
    slack,
    sns,
    standard_webhooks,
    stripe,
    twilio,
)
from triggers.http.signatures.scheme import MisconfiguredError, RefusedError, Scheme, Secret, Signed, Terms, Verified

__all__ = ["SCHEMES", "MisconfiguredError", "RefusedError", "Secret", "Signed", "Terms", "Verified", "verify"]

#: By the name that `verify=` gives them.
SCHEMES: Mapping[str, Scheme] = {
    "standard_webhooks": standard_webhooks.verify,
    "github": github.verify,
    "stripe": stripe.verify,
    "slack": slack.verify,
    "shopify": shopify.verify,
    "twilio": twilio.verify,
    "gitlab": gitlab.verify,
    "sns": sns.verify,
    "basic": basic.verify,
    "api_key": api_key.verify,
    "cloudevents": bearer.verify,
}


async def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify a request by the scheme that its route declares.

    Raises:
        RefusedError: the signature is bad, missing or stale.
        MisconfiguredError: this host has no secret, or none that can be used: an unverified request is never let through.
    """
    trigger = terms.trigger
    if trigger.verify is None:
        return Verified()
    if trigger.secret and not terms.secrets:
        names = " or ".join(trigger.secret)
        raise MisconfiguredError(f"the secret {names} has no value on this host; set ONCUE_SECRET_{trigger.secret[0]}")
    scheme = generic.verify if isinstance(trigger.verify, Hmac) else SCHEMES[trigger.verify]
    found = scheme(signed, terms)
    return found if isinstance(found, Verified) else await found
