"""What people do to invocations over HTTP: cancel, replay, and dead letters listed, replayed and dropped; and twins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from runtime.authoring.triggers import HttpTrigger
from runtime.ledger.keys import new_id
from tests.http.serving import Web, assert_problem, event_of, function

TEXT = {"type": "string"}


@pytest.fixture
def greet(web: Web) -> Web:
    """An edge that serves `greet` and `other`."""
    web.deploy(function("greet", {"name": TEXT}), function("other"))
    return web


def accept(web: Web, to: str = "greet", **data: str) -> str:
    invocation_id: str = web.client.post(f"/v1/functions/{to}", json=data).json()["id"]
    return invocation_id


def failed(web: Web, name: str = "greet", **error: Any) -> str:
    """An invocation that has failed."""
    invocation_id = accept(web, name)
    web.worker.fail(web.worker.claim(), **error)
    return invocation_id


def test_cancel(greet: Web) -> None:
    """What is queued is cancelled at once, and only once; what is unknown is 404."""
    own = f"/v1/invocations/{accept(greet)}"
    response = greet.client.post(own + "/cancel")
    assert (response.status_code, response.json()["status"], response.headers["location"]) == (202, "cancelled", own)
    assert greet.client.get(own).json()["status"] == "cancelled"
    assert_problem(greet.client.post(own + "/cancel"), 409, "wrong-state")
    assert_problem(greet.client.get(own + "/result"), 410, "invocation-cancelled")
    for unknown in ("nonsense", new_id("default")):
        assert_problem(greet.client.post(f"/v1/invocations/{unknown}/cancel"), 404, "unknown-invocation")
    assert greet.client.get(own + "/cancel").headers["allow"] == "POST"


def test_cancel_of_what_runs(greet: Web) -> None:
    """It goes on running until its worker has ended it, and the answer says so."""
    invocation_id = accept(greet)
    greet.worker.claim()
    response = greet.client.post(f"/v1/invocations/{invocation_id}/cancel")
    assert (response.status_code, response.json()["status"]) == (202, "running")


def test_replay(greet: Web) -> None:
    """What has failed runs anew, in the version that is deployed now, with the same data; a double click is one replay."""
    invocation_id = accept(greet, name="Zoë")
    assert_problem(greet.client.post(f"/v1/invocations/{invocation_id}/replay"), 409, "wrong-state")
    greet.worker.fail(greet.worker.claim())
    version = greet.deploy(function("greet", {"name": TEXT}))
    first, second = (greet.client.post(f"/v1/invocations/{invocation_id}/replay") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["replay_of"] == invocation_id
    assert (second.json()["id"], second.json()["duplicate"]) == (first.json()["id"], True)
    claim = greet.worker.claim()
    assert (claim.id, claim.version, event_of(claim)["data"]) == (first.json()["id"], version, {"name": "Zoë"})
    assert greet.client.get(first.headers["location"]).json()["replay_of"] == invocation_id
    assert_problem(greet.client.post(f"/v1/invocations/{new_id('default')}/replay"), 404, "unknown-invocation")


def test_dead_letters_are_listed_and_grouped(greet: Web) -> None:
    """Each cause is counted once with its newest case; filters and pages narrow the list, not the summary."""
    first = failed(greet, fingerprint="f1", message="one")
    second = failed(greet, fingerprint="f1", message="two")
    third = failed(greet, "other", type="KeyError", fingerprint="f2")
    document = greet.client.get("/v1/dead-letters").json()
    assert [each["id"] for each in document["dead_letters"]] == [third, second, first]
    assert [(group["fingerprint"], group["count"], group["newest"]) for group in document["groups"]] == [
        ("f1", 2, second),
        ("f2", 1, third),
    ]
    assert document["groups"][0]["message"] == "two"
    for query, wanted in (
        ("function=other", [third]),
        ("fingerprint=f1", [second, first]),
        ("type=KeyError", [third]),
        ("since=2100-01-01T00:00:00Z", []),
    ):
        assert [each["id"] for each in greet.client.get(f"/v1/dead-letters?{query}").json()["dead_letters"]] == wanted
    page = greet.client.get("/v1/dead-letters?limit=2")
    rest = greet.client.get(page.headers["link"].partition(">")[0][1:])
    assert [each["id"] for each in rest.json()["dead_letters"]] == [first]
    assert (rest.json()["next"], rest.json()["count"]) == (None, 3)


def test_dead_letters_are_replayed_by_filter(greet: Web) -> None:
    """A dry run says how many and does nothing; a replay takes those it names, spread out when a rate is given."""
    failed(greet, fingerprint="f1")
    failed(greet, fingerprint="f1")
    failed(greet, "other", fingerprint="f2")
    path = "/v1/dead-letters/replay?fingerprint=f1"
    dry = greet.client.post(path + "&dry_run=1")
    assert (dry.status_code, dry.json()["count"], dry.json()["groups"][0]["count"]) == (200, 2, 2)
    assert greet.client.get("/v1/dead-letters").json()["count"] == 3
    response = greet.client.post(path + "&rate=0.5")
    assert (response.status_code, response.json()["replayed"]) == (202, 2)
    states = [greet.client.get(f"/v1/invocations/{each}").json()["status"] for each in response.json()["invocations"]]
    assert states == ["queued", "scheduled"]
    assert greet.client.get("/v1/dead-letters").json()["count"] == 1


def test_dead_letters_are_dropped(greet: Web) -> None:
    """One by its id, or those of a filter; all of them only to who says so."""
    first, second, third = failed(greet), failed(greet), failed(greet, "other")
    assert_problem(greet.client.delete("/v1/dead-letters"), 400, "invalid-query")
    assert_problem(greet.client.delete("/v1/dead-letters?all=0"), 400, "invalid-query")
    assert greet.client.delete(f"/v1/dead-letters/{first}").status_code == 204
    assert_problem(greet.client.delete(f"/v1/dead-letters/{first}"), 404, "unknown-invocation")
    assert greet.client.delete("/v1/dead-letters?function=greet&dry_run=1").json()["count"] == 1
    assert greet.client.delete("/v1/dead-letters?function=greet").json() == {"dropped": 1}
    assert_problem(greet.client.get(f"/v1/invocations/{second}"), 404, "unknown-invocation")
    assert greet.client.delete("/v1/dead-letters?all=1").json() == {"dropped": 1}
    assert_problem(greet.client.get(f"/v1/invocations/{third}"), 404, "unknown-invocation")
    running = accept(greet)
    assert_problem(greet.client.delete(f"/v1/dead-letters/{running}"), 409, "wrong-state")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "?colour=red"),
        ("GET", "?since=yesterday"),
        ("GET", "?limit=0"),
        ("POST", "/replay?rate=0"),
        ("POST", "/replay?rate=5e-324"),
        ("POST", "/replay?rate=nan"),
        ("POST", "/replay?rate=fast"),
        ("POST", "/replay?dry_run=maybe"),
        ("DELETE", "?all=maybe"),
    ],
)
def test_query_that_cannot_be_read(greet: Web, method: str, path: str) -> None:
    """It is refused by name, and nothing is done."""
    assert_problem(greet.client.request(method, "/v1/dead-letters" + path), 400, "invalid-query")


@pytest.fixture
def cached(web: Web) -> Web:
    """An edge that serves `square`, cached, directly and at a route."""
    triggers = (HttpTrigger(method="POST", path="/in", respond="result"),)
    web.deploy(
        function("square", {"n": {"type": "integer"}, "m": TEXT}, options={"cache_s": 60.0, "timeout_s": 5}, triggers=triggers)
    )
    return web


def finish_one(web: Web) -> threading.Thread:
    thread = threading.Thread(target=lambda: web.worker.succeed(web.worker.claim(), b"9"))
    thread.start()
    return thread


def test_twins_share_one_run(cached: Web) -> None:
    """Equal arguments, however they are written, are answered by the run that is there; others run for themselves."""
    first = cached.client.post("/v1/functions/square", content=b'{"n":3,"m":"x"}', headers={"content-type": "application/json"})
    twin = cached.client.post(
        "/v1/functions/square", content=b'{"m": "x", "n": 3}', headers={"content-type": "application/json"}
    )
    assert (first.status_code, twin.status_code) == (202, 202)
    assert (twin.json()["id"], twin.json()["cached"]) == (first.json()["id"], True)
    other = cached.client.post("/v1/functions/square", json={"n": 4, "m": "x"})
    later = cached.client.post("/v1/functions/square?delay=60", json={"n": 3, "m": "x"})
    assert len({first.json()["id"], other.json()["id"], later.json()["id"]}) == 3
    assert cached.worker.waiting() == 2


@pytest.mark.parametrize("path", ["/v1/functions/square", "/in"])
def test_twin_that_waits_gets_the_result(cached: Web, path: str) -> None:
    """A twin that waits is given the result of the one run, also once it is over."""
    thread = finish_one(cached)
    answers = [cached.client.post(path, json={"n": 3}, headers={"prefer": "wait=10"}) for _ in range(3)]
    thread.join()
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"9")] * 3
    assert len({answer.headers["x-invocation-id"] for answer in answers}) == 1
    assert ["oncue-cached" in answer.headers for answer in answers] == [False, True, True]


def test_new_version_has_no_twins_in_the_old(cached: Web, eventually: Callable[..., object]) -> None:
    """What another version has computed answers nothing of this one."""
    first = cached.client.post("/v1/functions/square", json={"n": 3}).json()
    cached.deploy(function("square", {"n": {"type": "integer"}}, options={"cache_s": 60.0}))
    second = cached.client.post("/v1/functions/square", json={"n": 3}).json()
    assert first["id"] != second["id"]
    assert "cached" not in second
