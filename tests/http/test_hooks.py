"""Declared routes: matching, what the handler gets, filters, repeats and answers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from runtime.authoring.triggers import HttpTrigger
from tests.http.serving import Web, assert_problem, event_of, function

TEXT = {"type": "string"}


def hook(route: str, **more: Any) -> HttpTrigger:
    method, path = route.split()
    return HttpTrigger(method=method, path=path, **more)


def deploy(web: Web, *triggers: HttpTrigger, properties: dict[str, Any] | None = None, **more: Any) -> Web:
    web.deploy(function("hooked", properties, triggers=triggers, **more))
    return web


def test_request_for_a_declared_route_becomes_an_invocation(web: Web) -> None:
    """The handler gets the body as it came, and the facts of the request without its secrets."""
    deploy(web, hook("POST /hooks/thing"))
    response = web.client.post(
        "/hooks/thing?a=1&b=2&b=3",
        json={"anything": [1]},
        headers={"x-custom": "v", "authorization": "Bearer hunter2", "cookie": "hunter2", "x-gitlab-token": "hunter2"},
    )
    claim = web.worker.claim()
    assert (response.status_code, response.json()["id"], response.headers["location"]) == (
        202,
        claim.id,
        f"/v1/invocations/{claim.id}",
    )
    event = event_of(claim)
    assert (event["source"], event["type"], event["data"]) == ("/hooks/thing", "oncue.http", {"anything": [1]})
    facts = event["extensions"]
    assert (facts["http.method"], facts["http.path"], facts["http.query"]) == (
        "POST",
        "/hooks/thing",
        {"a": "1", "b": ["2", "3"]},
    )
    assert facts["http.headers"]["x-custom"] == "v"
    assert b"hunter2" not in claim.event


def test_path_segments_fill_parameters(web: Web) -> None:
    """`{name}` takes one decoded segment, read by its type; a fixed segment goes before a parameter."""
    deploy(
        web,
        hook("POST /shops/{shop}/orders/{number}"),
        hook("POST /shops/main/orders/{number}"),
        properties={"shop": TEXT, "number": {"type": "integer"}, "note": TEXT},
    )
    for path in ("/shops/a%2Fb%20c/orders/7", "/shops/main/orders/8"):
        assert web.client.post(path, json={"note": "x"}).status_code == 202
    assert [event_of(web.worker.claim())["data"] for _ in range(2)] == [
        {"shop": "a/b c", "number": 7, "note": "x"},
        {"number": 8, "note": "x"},
    ]
    assert_problem(web.client.post("/shops/x/orders/y", json={}), 400, "invalid-data")
    assert_problem(web.client.post("/shops/x/orders/7", json=[1]), 400, "invalid-data")
    assert_problem(web.client.post("/shops/%ff/orders/7"), 400, "invalid-path")
    assert_problem(web.client.post("/shops//orders/7"), 404, "not-found")


def test_unknown_fields_are_ignored_at_a_route(web: Web) -> None:
    """A provider sends more than a handler wants."""
    deploy(web, hook("POST /in"), properties={"name": TEXT})
    assert web.client.post("/in", json={"name": "x", "other": 1}).status_code == 202
    assert_problem(web.client.post("/in", json={"name": 1}), 400, "invalid-data")


def test_wrong_method_names_the_right_ones(web: Web) -> None:
    """405 carries Allow; HEAD is served by GET; a path nobody declared is 404."""
    deploy(web, hook("GET /page"), hook("PUT /page"))
    response = web.client.post("/page")
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD, PUT"
    head = web.client.head("/page")
    assert (head.status_code, head.content) == (202, b"")
    assert_problem(web.client.get("/page/"), 404, "not-found")
    assert_problem(web.client.get("/"), 404, "not-found")


def test_raw_body_at_a_route_fills_the_bytes_parameter(web: Web) -> None:
    """An upload to a declared route is handed raw, its query fills the rest."""
    deploy(web, hook("PUT /upload"), properties={"file": TEXT, "name": TEXT}, blob_parameter="file")
    assert web.client.put("/upload?name=n", content=b"\x00\x01", headers={"content-type": "image/png"}).status_code == 202
    claim = web.worker.claim()
    assert (claim.blob, event_of(claim)["data"]) == (b"\x00\x01", {"name": "n"})


def test_filtered_request_is_ignored(web: Web) -> None:
    """`when=` lets only matching data through; what is filtered makes no invocation."""
    deploy(web, hook("POST /in", when={"action": ["opened", "closed"], "pull.draft": False, "gone": None}))
    for data in (
        {"action": "edited", "pull": {"draft": False}},
        {"action": "opened", "pull": {"draft": 0}},
        {"action": "opened"},
        [1],
    ):
        response = web.client.post("/in", json=data)
        assert (response.status_code, response.json()) == (200, {"ignored": True})
    assert web.worker.waiting() == 0
    assert web.client.post("/in", json={"action": "closed", "pull": {"draft": False}}).status_code == 202


def test_repeat_at_a_route_is_marked(web: Web) -> None:
    """A repeat under one Idempotency-Key answers 200, the same id and "duplicate"."""
    deploy(web, hook("POST /in"))
    headers = {"idempotency-key": "k"}
    first = web.client.post("/in", json={}, headers=headers)
    second = web.client.post("/in", json={}, headers=headers)
    assert (first.status_code, second.status_code) == (202, 200)
    assert (second.json()["id"], second.json()["duplicate"]) == (first.json()["id"], True)
    assert_problem(web.client.post("/in", json=[1], headers=headers), 422, "idempotency-key-reused")
    assert web.worker.waiting() == 1


def test_route_that_responds_with_its_result_waits_for_it(web: Web) -> None:
    """`respond="result"` answers the result, and 202 when it takes too long."""
    deploy(web, hook("POST /in", respond="result"), options={"timeout_s": 1})
    thread = threading.Thread(target=lambda: web.worker.succeed(web.worker.claim(), b"<p>", "text/html"))
    thread.start()
    response = web.client.post("/in", json={})
    thread.join()
    assert (response.status_code, response.content, response.headers["content-type"]) == (200, b"<p>", "text/html")
    assert response.headers["content-security-policy"].startswith("sandbox")
    assert web.client.post("/in", json={}).status_code == 202


@pytest.mark.parametrize(
    ("response", "status", "content", "media_type"),
    [
        ({"status": 200, "body": "ok"}, 200, b"ok", "text/plain; charset=utf-8"),
        ({"body": {"text": "on it"}, "headers": {"X-Own": "1"}}, 200, b'{"text":"on it"}', "application/json"),
        ({"status": 201, "body": "<a/>", "headers": {"Content-Type": "text/xml"}}, 201, b"<a/>", "text/xml"),
        ({"status": 204}, 204, b"", None),
    ],
)
def test_fixed_response_is_answered_once_accepted(
    web: Web, response: dict[str, Any], status: int, content: bytes, media_type: str | None
) -> None:
    """`response=` answers what the route declares; the invocation exists all the same."""
    deploy(web, hook("POST /in", response=response))
    answer = web.client.post("/in", json={})
    assert (answer.status_code, answer.content, answer.headers.get("content-type")) == (status, content, media_type)
    assert answer.headers["location"] == f"/v1/invocations/{web.worker.claim().id}"
