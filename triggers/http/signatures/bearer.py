"""CloudEvents over HTTP (webhook specification 1.0, section 3): a bearer token where the route declares a secret, else anybody.

The token may come in the query as `access_token`, as the specification has it for senders that can set no header.
"""

from __future__ import annotations

from triggers.http.signatures.forms import read_form
from triggers.http.signatures.scheme import RefusedError, Signed, Terms, Verified, is_any

_CHALLENGE = [(b"www-authenticate", b'Bearer realm="oncue"')]


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify who calls; repeats are told by the event's source and id (triggers/http/cloudevents)."""
    if not terms.secrets:
        return Verified()
    name, _, token = signed.headers.get(b"authorization", b"").strip().partition(b" ")
    given = [token.strip()] if name.lower() == b"bearer" else []
    given += [value for key, value in read_form(signed.target.partition(b"?")[2]) if key == b"access_token"]
    if len(given) != 1:
        raise RefusedError("signature-missing", "exactly one bearer token must come with the request", _CHALLENGE)
    if not is_any([secret.value.encode() for secret in terms.secrets], given):
        raise RefusedError("signature-invalid", "the bearer token is wrong", _CHALLENGE)
    return Verified()
