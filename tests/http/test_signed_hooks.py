"""Signed webhooks at their routes: who gets in, what is a repeat, and what the handler sees."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import standardwebhooks

from runtime.authoring.routes import Hmac
from runtime.authoring.triggers import HttpTrigger
from tests.http.serving import Web, assert_problem, event_of, function
from tests.http.signing import github, slack, stripe

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TEXT = {"type": "string"}


@pytest.fixture
def hooked(start_web: Callable[..., Web], redis_url: str) -> Web:
    """An edge with a signed route of each of several schemes."""
    web = start_web(redis_url, secrets={"S": "hunter2", "STANDARD": WHSEC})
    triggers = (
        HttpTrigger(method="POST", path="/github", verify="github", secret=("S",), when={"action": "opened"}),
        HttpTrigger(method="POST", path="/stripe", verify="stripe", secret=("S",)),
        HttpTrigger(method="POST", path="/slack", verify="slack", secret=("S",)),
        HttpTrigger(method="POST", path="/standard", verify="standard_webhooks", secret=("STANDARD",)),
        HttpTrigger(method="POST", path="/key", verify="api_key", secret=("S",), header="X-Own-Key"),
        HttpTrigger(method="POST", path="/pinged", verify="github", secret=("S",)),
        HttpTrigger(method="POST", path="/absent", verify="github", secret=("GONE",)),
        HttpTrigger(method="POST", path="/own", verify=Hmac(header="X-Sig"), secret=("S",)),
    )
    web.deploy(function("hooked", {"action": TEXT}, triggers=triggers))
    return web


@pytest.mark.parametrize(("event", "status"), [("ping", 200), ("issues", 400)])
def test_trial_that_the_function_cannot_take(hooked: Web, event: str, status: int) -> None:
    """GitHub's `ping` is answered and runs nothing; any other event that misfits is refused."""
    body = b'{"zen": "Keep it logically awesome.", "action": 7}'
    answer = hooked.client.post("/pinged", content=body, headers=github(body, "hunter2", **{"x-github-event": event}))
    assert answer.status_code == status
    assert status == 400 or answer.json() == {"ignored": True}
    assert hooked.worker.waiting() == 0


def test_sender_by_the_reference_package(hooked: Web) -> None:
    """What the package of Standard Webhooks signs is accepted; its second delivery, with a new timestamp, is the same."""
    body = '{"action": "go"}'
    answers = []
    for seconds in (0, 10):
        moment = int(time.time()) - seconds
        signature = standardwebhooks.Webhook(WHSEC).sign("msg_7", datetime.fromtimestamp(moment, UTC), body)
        headers = {"webhook-id": "msg_7", "webhook-timestamp": str(moment), "webhook-signature": signature}
        headers["content-type"] = "application/json"
        answers.append(hooked.client.post("/standard", content=body, headers=headers))
    first, second = answers
    assert (first.status_code, second.status_code) == (202, 200)
    assert (second.json()["id"], second.json()["duplicate"]) == (first.json()["id"], True)
    assert hooked.worker.waiting() == 1
    assert event_of(hooked.worker.claim())["id"] == "msg_7"


def test_request_is_verified_before_it_is_read(hooked: Web) -> None:
    """A body that is no JSON, or misfits, is 401 without a signature, and 400 only with one; nothing is remembered of it."""
    for body in (b"{", b'{"action": 5}'):
        assert_problem(
            hooked.client.post("/stripe", content=body, headers={"content-type": "application/json"}), 401, "signature-missing"
        )
        assert_problem(hooked.client.post("/stripe", content=body, headers=stripe(body, "wrong")), 401, "signature-invalid")
        assert hooked.client.post("/stripe", content=body, headers=stripe(body, "hunter2")).status_code == 400
    body = b'{"id": "evt_1", "action": "x"}'
    forged = hooked.client.post("/stripe", content=body, headers=stripe(body, "wrong"))
    assert forged.status_code == 401
    assert hooked.client.post("/stripe", content=body, headers=stripe(body, "hunter2")).status_code == 202


def test_stale_signature(hooked: Web) -> None:
    """A replay after the window is told from a bad signature."""
    body = b"{}"
    response = hooked.client.post("/stripe", content=body, headers=stripe(body, "hunter2", time.time() - 400))
    assert_problem(response, 401, "timestamp-out-of-tolerance")
    assert response.headers["www-authenticate"] == 'Signature realm="oncue"'


def test_filter_sees_only_what_is_verified(hooked: Web) -> None:
    """`when=` is looked at after the signature, in a form's payload as in a body."""
    closed, opened = b'{"action":"closed"}', b"payload=%7B%22action%22%3A%22opened%22%7D"
    assert hooked.client.post("/github", content=closed, headers=github(closed, "wrong")).status_code == 401
    assert hooked.client.post("/github", content=closed, headers=github(closed, "hunter2")).json() == {"ignored": True}
    form = github(opened, "hunter2", **{"content-type": "application/x-www-form-urlencoded", "x-github-delivery": "d-1"})
    assert hooked.client.post("/github", content=opened, headers=form).status_code == 202
    assert event_of(hooked.worker.claim())["data"] == {"action": "opened"}
    assert hooked.client.post("/github", content=opened, headers=form).json()["duplicate"] is True


def test_challenge_is_answered_without_an_invocation(hooked: Web) -> None:
    """Slack's challenge comes back as it came."""
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1a"}).encode()
    response = hooked.client.post("/slack", content=body, headers=slack(body, "hunter2"))
    assert (response.status_code, response.text) == (200, "3eZbrw1a")
    assert hooked.worker.waiting() == 0
    assert hooked.client.post("/slack", content=body, headers=slack(body, "wrong")).status_code == 401


def test_key_is_kept_from_the_handler(hooked: Web) -> None:
    """The header that carries the key is no fact of the event."""
    assert hooked.client.post("/key", json={}, headers={"x-own-key": "hunter2"}).status_code == 202
    assert b"hunter2" not in hooked.worker.claim().event


def test_repeated_signature_header_is_no_signature(hooked: Web) -> None:
    """Of two signatures nobody can tell which is meant."""
    body = b"{}"
    right = github(body, "hunter2")["x-hub-signature-256"]
    headers = [("x-hub-signature-256", right), ("x-hub-signature-256", right), ("content-type", "application/json")]
    assert hooked.client.post("/github", content=body, headers=headers).status_code == 401


def test_route_whose_secret_is_missing_lets_nobody_in(hooked: Web) -> None:
    """It is a problem of this host, which names the secret and no value; the request is not accepted unverified."""
    body = b"{}"
    response = hooked.client.post("/absent", content=body, headers=github(body, "hunter2"))
    problem = assert_problem(response, 503, "verification-unavailable")
    assert "ONCUE_SECRET_GONE" in problem["detail"]
    assert response.headers["retry-after"] == "60"
    assert hooked.worker.waiting() == 0
