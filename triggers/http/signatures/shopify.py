"""Shopify: `X-Shopify-Hmac-SHA256: <base64 HMAC-SHA256 of the body>`.

Repeats are told by `X-Shopify-Event-Id` within a topic: one action of a merchant can be an event of several topics.
https://shopify.dev/docs/apps/build/webhooks/subscribe/https and …/webhooks/ignore-duplicates
"""

from __future__ import annotations

from triggers.http.signatures.scheme import Signed, Terms, Verified, header, in_base64, is_any, macs, mismatch, text_header


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify a request."""
    given = header(signed, b"x-shopify-hmac-sha256")
    if not is_any(in_base64(macs(terms, signed.body)), [given]):
        raise mismatch(terms)
    event, topic = text_header(signed, b"x-shopify-event-id"), text_header(signed, b"x-shopify-topic")
    return Verified(f"{topic}:{event}" if event else text_header(signed, b"x-shopify-webhook-id"))
