"""The handshake by which a sender of CloudEvents asks whether it may send (HTTP 1.1 Web Hooks, 1.0.1, section 4)."""

from __future__ import annotations

from collections.abc import Mapping

from triggers.http.answers import Answer, Header

#: Requests a minute that a sender may be promised, whatever it asks for.
MAX_RATE_PER_MINUTE = 60_000


def consent(headers: Mapping[bytes, bytes], methods: bytes = b"OPTIONS, POST") -> Answer:
    """Return the answer to OPTIONS: yes, to the origin that asks. It lets nobody in: each event is still verified.

    `methods`: what is allowed at this place.
    """
    answer: list[Header] = [(b"allow", methods)]
    origin = headers.get(b"webhook-request-origin", b"").strip()
    if 0 < len(origin) <= 255 and not origin.translate(None, _HOST_BYTES):
        answer.append((b"webhook-allowed-origin", origin))
        rate = headers.get(b"webhook-request-rate", b"").strip()
        if rate == b"*" or rate.isdigit():
            granted = MAX_RATE_PER_MINUTE if rate == b"*" else min(max(int(rate[:9]), 1), MAX_RATE_PER_MINUTE)
            answer.append((b"webhook-allowed-rate", b"%d" % granted))
    return Answer(200, b"", b"text/plain", answer)


_HOST_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]*"
