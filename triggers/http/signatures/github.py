"""GitHub: `X-Hub-Signature-256: sha256=<hex HMAC-SHA256 of the body>`; deduplicated by `X-GitHub-Delivery`.

There is no timestamp: only the delivery's id, which a redelivery repeats, stands against replays. A new webhook is tried with
`X-GitHub-Event: ping`, which holds none of what later events do.
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
https://docs.github.com/en/webhooks/webhook-events-and-payloads#ping
"""

from __future__ import annotations

from triggers.http.signatures.forms import payload_of
from triggers.http.signatures.scheme import Signed, Terms, Verified, header, in_hex, is_any, macs, mismatch, text_header


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify a request. A form, which is GitHub's default, has its JSON in the field `payload`."""
    given = header(signed, b"x-hub-signature-256")
    if not is_any(in_hex(macs(terms, signed.body), b"sha256="), [given]):
        raise mismatch(terms)
    is_ping = signed.headers.get(b"x-github-event") == b"ping"
    return Verified(text_header(signed, b"x-github-delivery"), document=payload_of(signed), is_trial=is_ping)
