"""Explains to a route's owner why a stored request is refused: what is wrong, and what would have matched instead.

Never says a secret or an expected signature; only which change of the request or of the secret makes them agree.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from triggers.http.answers import ProblemError
from triggers.http.signatures import MisconfiguredError, Secret, Signed, Terms, verify
from triggers.http.signatures.certificates import Certificates

#: Headers by which a scheme is known.
_MARKS = {
    b"webhook-signature": "standard_webhooks",
    b"svix-signature": "standard_webhooks",
    b"x-hub-signature-256": "github",
    b"stripe-signature": "stripe",
    b"x-slack-signature": "slack",
    b"x-shopify-hmac-sha256": "shopify",
    b"x-twilio-signature": "twilio",
    b"x-gitlab-token": "gitlab",
    b"x-amz-sns-message-type": "sns",
    b"x-hub-signature": "Hmac(header='X-Hub-Signature', algorithm='sha1', prefix='sha1=')",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The judgement of one request."""

    is_good: bool
    #: the problem's code; empty when the request is good
    code: str
    #: what is so, in one sentence
    reason: str
    #: what would have matched, or what to look at
    hints: list[str] = field(default_factory=list)


def explain(signed: Signed, terms: Terms) -> Explanation:
    """Judge a request as the route would, and look for what is behind a refusal. May fetch Amazon's certificate."""
    problem = _refusal(signed, terms)
    if problem is None:
        return Explanation(True, "", "the signature is good, and the request is within its replay window")
    if isinstance(problem, MisconfiguredError):
        return Explanation(False, problem.code, problem.detail)
    hints: list[str] = []
    timeless = _timeless(terms)
    if problem.code == "timestamp-out-of-tolerance":
        hints.append("the signature itself is good; judge it at the time it came with --at")
    elif problem.code == "signature-missing":
        hints += _other_schemes(signed, terms)
    else:
        hints += _length(signed)
        hints += [words for words, other in _requests(signed) if _refusal(other, timeless) is None]
        hints += [words for words, other in _secrets(timeless) if _refusal(signed, other) is None]
        hints += [words for words, other in _urls(timeless) if _refusal(signed, other) is None]
        hints = hints or [*_other_schemes(signed, terms), *_shape(terms)]
    return Explanation(False, problem.code, problem.detail, hints)


def _refusal(signed: Signed, terms: Terms) -> ProblemError | None:
    async def judge() -> None:
        # As explaining may fetch nothing that the links of a message lead to, a subscription is not confirmed.
        trigger = terms.trigger.model_copy(update={"confirm": False})
        await verify(signed, replace(terms, trigger=trigger, certificates=Certificates()))

    try:
        asyncio.run(judge())
    except ProblemError as problem:
        return problem
    return None


def _timeless(terms: Terms) -> Terms:
    return replace(terms, trigger=terms.trigger.model_copy(update={"tolerance_s": math.inf}))


def _length(signed: Signed) -> Iterator[str]:
    announced = signed.headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) != len(signed.body):
        yield f"the stored body has {len(signed.body):,} bytes, and content-length says {int(announced):,}"


def _requests(signed: Signed) -> Iterator[tuple[str, Signed]]:
    """Yield what storing or a proxy does to a body."""
    body = signed.body
    variants = [
        ("without the newline at the end of the body: an editor has added it", body.rstrip(b"\r\n")),
        ("with a newline at the end of the body: storing it has cut it off", body + b"\n"),
        ("with LF instead of CRLF in the body: something has changed the line ends", body.replace(b"\r\n", b"\n")),
        ("with CRLF instead of LF in the body: something has changed the line ends", body.replace(b"\n", b"\r\n")),
    ]
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if document is not None:
        again = "the body has been read and written again on its way"
        variants += [
            (f"with compact JSON: {again}", json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()),
            (f"with compact ASCII JSON: {again}", json.dumps(document, separators=(",", ":")).encode()),
            (f"with spaced JSON: {again}", json.dumps(document).encode()),
        ]
    for words, other in variants:
        if other != body:
            yield f"it matches {words}", replace(signed, body=other)


def _secrets(terms: Terms) -> Iterator[tuple[str, Terms]]:
    """Yield what happens to a secret between its sender's page and this host."""
    for secret in terms.secrets:
        for words, value in (
            ("without the white space around it", secret.value.strip()),
            ("without the quotes around it", secret.value.strip("\"'")),
            ("as a literal text, though the scheme reads base64", "whsec_" + base64.b64encode(secret.value.encode()).decode()),
            ("behind its prefix whsec_", f"whsec_{secret.value}"),
        ):
            if value and value != secret.value:
                own = [Secret(secret.name, value)]
                yield f"it matches when the secret {secret.name} is read {words}: set it anew", replace(terms, secrets=own)


def _urls(terms: Terms) -> Iterator[tuple[str, Terms]]:
    if terms.trigger.verify != "twilio" or terms.public_url is None:
        return
    scheme, _, rest = terms.public_url.partition("://")
    other = f"{'http' if scheme == 'https' else 'https'}://{rest}"
    yield f"it matches under {other}: set ONCUE_PUBLIC_URL to that", replace(terms, public_url=other)


def _other_schemes(signed: Signed, terms: Terms) -> Iterator[str]:
    for mark, scheme in _MARKS.items():
        if mark in signed.headers and scheme != terms.trigger.verify:
            yield f"the request has the header {mark.decode()}, which belongs to verify={scheme}"


def _shape(terms: Terms) -> Iterator[str]:
    """Tell the owner what a secret looks like, without what it is."""
    for secret in terms.secrets:
        ends = secret.value != secret.value.strip()
        yield (
            f"the secret {secret.name} has {len(secret.value)} characters{' and white space at its ends' if ends else ''}; "
            "compare it with the one that the sender shows, and see that it is of this very endpoint"
        )
