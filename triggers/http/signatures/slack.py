"""Slack: `X-Slack-Signature: v0=<hex HMAC-SHA256 of "v0:timestamp:body">`, with the `url_verification` handshake.

Repeats are told by the event's id; a command or a button press, which has none, by its signature: Slack does not repeat
those, so whatever comes twice is a replay. https://docs.slack.dev/authentication/verifying-requests-from-slack/
"""

from __future__ import annotations

import hashlib

from triggers.http.answers import Answer
from triggers.http.signatures.forms import payload_of
from triggers.http.signatures.scheme import (
    Signed,
    Terms,
    Verified,
    check_age,
    header,
    in_hex,
    is_any,
    macs,
    mismatch,
    read_timestamp,
)
from triggers.http.signatures.texts import as_id, read_object


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify a request, and answer the challenge by which Slack tries a new URL."""
    given, moment = header(signed, b"x-slack-signature"), header(signed, b"x-slack-request-timestamp")
    timestamp = read_timestamp(moment)
    if not is_any(in_hex(macs(terms, b"v0:%s:%s" % (moment, signed.body)), b"v0="), [given]):
        raise mismatch(terms)
    check_age(timestamp, terms)
    is_object = signed.body[:1] == b"{"
    message = read_object(signed.body) if is_object else {}
    challenge = message.get("challenge")
    if message.get("type") == "url_verification" and isinstance(challenge, str):
        return Verified(answer=Answer(200, challenge.encode(), b"text/plain; charset=utf-8"))
    delivery = as_id(message.get("event_id")) or hashlib.sha256(given).hexdigest()[:32]
    return Verified(delivery, document=payload_of(signed))
