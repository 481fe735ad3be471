"""GitLab: the secret token itself in `X-Gitlab-Token`, or a signing token (`whsec_…`) by Standard Webhooks.

A request that is signed is judged by its signature alone, when the route has a signing token.
https://docs.gitlab.com/user/project/integrations/webhooks/
"""

from __future__ import annotations

from dataclasses import replace

from triggers.http.signatures import standard_webhooks
from triggers.http.signatures.scheme import Signed, Terms, Verified, header, is_any, mismatch, text_header


def verify(signed: Signed, terms: Terms) -> Verified:
    """Verify a request; repeats are told by `Idempotency-Key`, or by the event's UUID before GitLab 17.4."""
    signing = [secret for secret in terms.secrets if secret.value.startswith("whsec_")]
    if signing and (b"webhook-signature" in signed.headers or len(signing) == len(terms.secrets)):
        return standard_webhooks.verify(signed, replace(terms, secrets=signing))
    given = header(signed, b"x-gitlab-token")
    tokens = [secret.value.encode() for secret in terms.secrets if secret not in signing]
    if not is_any(tokens, [given]):
        raise mismatch(terms)
    return Verified(text_header(signed, b"idempotency-key") or text_header(signed, b"x-gitlab-event-uuid"))
