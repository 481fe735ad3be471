"""`POST /v1/functions/{name}`: accepting, waiting, repeating, and every refusal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import redis

from infra.embedded import EmbeddedServer
from runtime.ledger.records import Claim
from tests.http.serving import Web, assert_problem, event_of, function

TEXT = {"type": "string"}
INTEGER = {"type": "integer"}
BYTES = {"type": "string", "contentEncoding": "base64"}
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def resize(web: Web) -> Web:
    """An edge that serves `resize(image: bytes, width: int = 256, *, tags: list[str], crop: bool, scale: float)`."""
    properties = {
        "image": BYTES,
        "width": {"anyOf": [INTEGER, {"type": "null"}]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/Tag"}},
        "crop": {"type": "boolean"},
        "scale": {"type": "number"},
        "label": TEXT,
    }
    schema = {"type": "object", "properties": properties, "required": ["image"], "$defs": {"Tag": INTEGER}}
    web.deploy(
        function("resize", blob_parameter="image", input_schema=schema), function("greet", {"name": TEXT}, required=("name",))
    )
    return web


def finish_next(web: Web, finish: Callable[[Claim], None]) -> threading.Thread:
    """Finish the next invocation on another thread."""
    thread = threading.Thread(target=lambda: finish(web.worker.claim()))
    thread.start()
    return thread


def test_json_invocation_is_accepted_with_its_links(resize: Web) -> None:
    """A 202 names the id, where to look, and the record and queue entry exist."""
    response = resize.client.post("/v1/functions/greet", json={"name": "Zoë"})
    assert response.status_code == 202
    document = response.json()
    own = f"/v1/invocations/{document['id']}"
    assert document["status"] == "queued"
    assert document["links"] == {"self": own, "result": own + "/result", "events": own + "/events", "cancel": own + "/cancel"}
    assert response.headers["location"] == own
    assert response.headers["retry-after"] == "1"
    claim = resize.worker.claim()
    event = event_of(claim)
    assert (claim.id, claim.function, claim.blob) == (document["id"], "greet", None)
    assert (event["id"], event["source"], event["type"]) == (claim.id, "/v1/functions/greet", "oncue.invoke")
    assert event["data"] == {"name": "Zoë"}
    assert event["time"].endswith("+00:00")


def test_raw_body_fills_the_bytes_parameter_and_the_query_the_rest(resize: Web) -> None:
    """Any media type but JSON is handed raw; the query is read by the types of the schema."""
    path = "/v1/functions/resize?width=12&tags=1&tags=2&crop=true&scale=0.5&label=7"
    resize.client.post(path, content=b"\x00\xffjpeg", headers={"content-type": "image/jpeg"}).raise_for_status()
    claim = resize.worker.claim()
    assert claim.blob == b"\x00\xffjpeg"
    event = event_of(claim)
    assert event["data"] == {"width": 12, "tags": [1, 2], "crop": True, "scale": 0.5, "label": "7"}
    assert event["content_type"] == "image/jpeg"


def test_query_without_a_body_is_the_data(resize: Web) -> None:
    """A bodiless POST takes its data from the query."""
    resize.client.post("/v1/functions/greet?name=Ann").raise_for_status()
    assert event_of(resize.worker.claim())["data"] == {"name": "Ann"}


def test_form_body_is_read_as_fields(resize: Web) -> None:
    """An urlencoded form fills the parameters of a function that takes no bytes."""
    resize.client.post("/v1/functions/greet", data={"name": "Ann"}).raise_for_status()
    assert event_of(resize.worker.claim())["data"] == {"name": "Ann"}


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "application/merge-patch+json", "Application/JSON", ""]
)
def test_json_media_types_are_read_as_json(resize: Web, media_type: str) -> None:
    """JSON in any of its media types, or with none given, fills parameters by name."""
    headers = {"content-type": media_type} if media_type else {}
    resize.client.post("/v1/functions/greet", content=b' {"name": "Ann"}\n', headers=headers).raise_for_status()
    assert event_of(resize.worker.claim())["data"] == {"name": "Ann"}


def test_awaited_result_comes_in_its_own_media_type(resize: Web) -> None:
    """`Prefer: wait` answers 200 with the result's bytes, its name, its digest and its invocation."""
    thread = finish_next(resize, lambda claim: resize.worker.succeed(claim, b"GIF89a", "image/gif", filename='na"me é.gif'))
    response = resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers={"prefer": "respond-async, wait=10"})
    thread.join()
    assert (response.status_code, response.content) == (200, b"GIF89a")
    assert response.headers["content-type"] == "image/gif"
    assert response.headers["preference-applied"] == "wait=10"
    assert response.headers["content-disposition"] == "inline; filename=\"na_me _.gif\"; filename*=UTF-8''na%22me%20%C3%A9.gif"
    assert response.headers["x-content-type-options"] == "nosniff"
    status = resize.client.get(f"/v1/invocations/{response.headers['x-invocation-id']}").json()
    assert status["result"]["sha256"] in response.headers["etag"]


def test_wait_that_is_too_short_answers_202(resize: Web) -> None:
    """Who waits in vain gets the id, and the wait is capped at 60 s."""
    response = resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers={"prefer": "wait=0"})
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    resize.worker.claim()
    thread = finish_next(resize, resize.worker.succeed)
    capped = resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers={"prefer": "wait=9999"})
    thread.join()
    assert (capped.status_code, capped.headers["preference-applied"]) == (200, "wait=60")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        (["wait=abc"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait"], None),
        ([""], None),
        (['foo="a, wait=1"'], None),
        (["respond-async", "wait=0"], "wait=0"),
        ([', WAIT = "0" ;x=1,'], "wait=0"),
        (["wait=0, wait=5"], "wait=0"),
    ],
)
def test_preference_as_it_is_written(resize: Web, prefer: list[str], applied: str | None) -> None:
    """A preference that cannot be read is none; of two the first counts, in one header or in two (RFC 7240)."""
    headers = [("prefer", each) for each in prefer]
    response = resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers=headers)
    assert (response.status_code, response.headers.get("preference-applied")) == (202, applied)
    status = resize.client.get(response.headers["location"], headers=headers)
    assert (status.status_code, status.headers.get("preference-applied")) == (200, applied)


def test_awaited_failure_is_a_problem_with_its_reason(resize: Web) -> None:
    """A failed function is 502, says what it said, and keeps its traceback to itself."""
    thread = finish_next(
        resize, lambda claim: resize.worker.fail(claim, type="KeyError", message="no such thing", traceback="Traceback …")
    )
    response = resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers={"prefer": "wait=10"})
    thread.join()
    problem = assert_problem(response, 502, "function-failed")
    assert problem["error"] == {"kind": "raised", "type": "KeyError", "message": "no such thing"}
    assert problem["instance"] == f"/v1/invocations/{problem['invocation']}"
    assert "Traceback" not in response.text


def test_input_that_the_child_refuses_is_told_with_pointers(resize: Web) -> None:
    """What only the handler's own types can refuse comes back with a JSON pointer, too."""
    errors = [{"pointer": "/name", "message": "not a name"}]
    thread = finish_next(resize, lambda claim: resize.worker.fail(claim, kind="input", errors=errors))
    response = resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers={"prefer": "wait=10"})
    thread.join()
    assert assert_problem(response, 502, "function-failed")["errors"] == errors


def test_unknown_function_suggests_the_nearest(resize: Web) -> None:
    """A misspelt name is 404 and names what may be meant."""
    problem = assert_problem(resize.client.post("/v1/functions/gret", json={}), 404, "unknown-function")
    assert "did you mean 'greet'?" in problem["detail"]


@pytest.mark.parametrize(
    ("data", "pointer", "words"),
    [
        ({}, "/name", "required"),
        ({"name": 7}, "/name", "string"),
        ({"name": "Ann", "nmae": 1}, "/nmae", "did you mean 'name'?"),
        ([1], "", "object"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_a_pointer(resize: Web, data: object, pointer: str, words: str) -> None:
    """Misfits of the schema and unknown fields are 400, and point at the place."""
    problem = assert_problem(resize.client.post("/v1/functions/greet", json=data), 400, "invalid-data")
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["errors"][0]["message"]
    assert resize.worker.waiting() == 0


def test_refused_data_is_not_echoed(resize: Web) -> None:
    """What was sent may be a secret; no message repeats it."""
    response = resize.client.post("/v1/functions/greet", json={"name": {"password": "hunter2"}})
    assert_problem(response, 400, "invalid-data")
    assert "hunter2" not in response.text


def test_function_with_rest_takes_unknown_fields(web: Web) -> None:
    """`**rest` makes every field welcome; so does a handler without data parameters, which reads the event."""
    web.deploy(function("rest", {"name": TEXT}, takes_rest=True), function("event"))
    web.client.post("/v1/functions/rest", json={"other": 1}).raise_for_status()
    web.client.post("/v1/functions/event", json=[1, 2]).raise_for_status()
    assert [event_of(web.worker.claim())["data"] for _ in range(2)] == [{"other": 1}, [1, 2]]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content-type": "image/png"}, "unsupported-media-type"),
        ({"content-type": "application/json; charset=utf-16"}, "unsupported-media-type"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "unsupported-encoding"),
    ],
)
def test_body_that_cannot_be_taken_is_unsupported(resize: Web, headers: dict[str, str], code: str) -> None:
    """Bytes for a function without a bytes parameter, other charsets and compression are 415."""
    response = resize.client.post("/v1/functions/greet", content=b'{"name": "Ann"}', headers=headers)
    assert_problem(response, 415, code)
    assert response.headers.get("accept-encoding") == ("identity" if code == "unsupported-encoding" else None)


def test_json_sent_as_a_form_is_told_its_media_type(resize: Web) -> None:
    """What `curl -d` sends without a header is not taken for a form."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = resize.client.post("/v1/functions/greet", content=b'{"name": "Ann"}', headers=headers)
    assert "Content-Type: application/json" in assert_problem(response, 415, "unsupported-media-type")["detail"]


def test_delayed_invocation_is_scheduled(resize: Web) -> None:
    """`?delay=` and `?at=` put the start off; the record tells until when."""
    for query in ("delay=1h", "at=2199-01-01T00:00:00Z", "at=2199-01-01T00:00:00+02:00"):
        response = resize.client.post(f"/v1/functions/greet?{query}", json={"name": "Ann"})
        assert (response.status_code, response.json()["status"]) == (202, "scheduled"), response.text
        status = resize.client.get(response.headers["location"]).json()
        assert status["due_at"] > status["accepted_at"]
    assert resize.worker.waiting() == 0


@pytest.mark.parametrize(
    "query",
    ["delay=soon", "delay=-1", "delay=%D9%A3", "delay=999d", "at=tomorrow", "at=2030-01-01T00:00:00", "delay=1&at=2", "x=1"],
)
def test_query_that_cannot_be_read_is_refused(resize: Web, query: str) -> None:
    """A wrong delay or time, and a query beside a JSON body, are 400."""
    assert_problem(resize.client.post(f"/v1/functions/greet?{query}", json={"name": "Ann"}), 400, "invalid-query")


def test_repeat_with_an_idempotency_key_is_the_same_invocation(resize: Web) -> None:
    """Same key and body: same id, and one queue entry; the result for who waits."""

    def post(**headers: str) -> httpx.Response:
        headers = {"idempotency-key": "k1", **headers}
        return resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers=headers)

    first, second = post(), post()
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json()["id"] == first.json()["id"]
    assert second.json()["duplicate"] is True
    claim = resize.worker.claim()
    assert claim.key == "k1"
    assert resize.worker.waiting() == 1
    thread = threading.Thread(target=lambda: (time.sleep(0.2), resize.worker.succeed(claim, b'"hi"')))
    thread.start()
    third = post(prefer="wait=10")
    thread.join()
    assert (third.status_code, third.content) == (200, b'"hi"')
    assert post(prefer="wait=10").content == b'"hi"'


def test_idempotency_key_with_another_body_is_refused(resize: Web) -> None:
    """A key stands for one request; keys of different functions do not meet."""
    headers = {"idempotency-key": "k1"}
    resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers=headers).raise_for_status()
    other = resize.client.post("/v1/functions/greet", json={"name": "Bob"}, headers=headers)
    assert_problem(other, 422, "idempotency-key-reused")
    resize.client.post("/v1/functions/resize", json={"image": ""}, headers=headers).raise_for_status()


@pytest.mark.parametrize("key", ["", "x" * 256, "ü".encode()])
def test_unusable_idempotency_key_is_refused(resize: Web, key: str | bytes) -> None:
    """Empty, overlong and non-ASCII keys are 400."""
    response = resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers={"idempotency-key": key})  # type: ignore[dict-item]  # httpx takes bytes
    assert_problem(response, 400, "invalid-idempotency-key")


IDS = TRACEPARENT[3:-3]


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        (TRACEPARENT, TRACEPARENT),
        (f"cc-{IDS}-ff-what-the-future", TRACEPARENT),
        (f"cc-{IDS}-00", f"00-{IDS}-00"),
        (f"ff-{IDS}-01", None),
        (f"00-{IDS.upper()}-01", None),
        (f"00-{IDS}-01-more", None),
        (f"cc-{IDS}-01.more", None),
        (f"00-{IDS}-1", None),
        ("00-" + "0" * 32 + "-" + "1" * 16 + "-01", None),
        ("00-" + "1" * 32 + "-" + "0" * 16 + "-01", None),
        ("", None),
    ],
)
def test_trace_context_is_carried_when_it_is_valid(resize: Web, given: str, carried: str | None) -> None:
    """traceparent reaches the claim in the version that is known, with its tracestate; an invalid one is dropped with it."""
    headers = {"traceparent": given, "tracestate": "vendor=1"}
    resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers=headers).raise_for_status()
    trace = resize.worker.claim().trace
    assert trace == (carried and b'{"traceparent":"%s","tracestate":"vendor=1"}' % carried.encode())


def test_two_trace_parents(resize: Web) -> None:
    """Nobody can tell which is meant, and no request is refused for its trace: it goes on without one."""
    headers = [("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT), ("tracestate", "vendor=1")]
    resize.client.post("/v1/functions/greet", json={"name": "Ann"}, headers=headers).raise_for_status()
    assert resize.worker.claim().trace is None


def test_problem_names_its_path_as_a_uri(resize: Web) -> None:
    """`instance` is a URI reference (RFC 9457, section 3.1.5), whatever characters the path stands for."""
    problem = assert_problem(resize.client.get("/v1/invocations/a%20b%22%3F%C3%A9"), 404, "unknown-invocation")
    assert problem["instance"] == "/v1/invocations/a%20b%22%3F%C3%A9"


def test_request_id_is_echoed_when_it_is_safe(resize: Web) -> None:
    """A caller's id comes back; one that could split a log line is replaced."""
    assert resize.client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert resize.client.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_header_given_twice_is_refused(resize: Web) -> None:
    """Two idempotency keys are no key."""
    response = resize.client.post(
        "/v1/functions/greet", json={"name": "Ann"}, headers=[("idempotency-key", "a"), ("idempotency-key", "b")]
    )
    assert_problem(response, 400, "repeated-header")


def test_body_beyond_the_functions_limit_is_too_large(web: Web) -> None:
    """A function's own limit holds, announced or counted."""
    web.deploy(function("small", options={"max_body_bytes": 10}))
    announced = web.client.post("/v1/functions/small", content=b"[" + b" " * 10 + b"]")
    assert_problem(announced, 413, "body-too-large")
    counted = web.client.post("/v1/functions/small", content=iter([b"[", b" " * 10, b"]"]))
    assert_problem(counted, 413, "body-too-large")
    assert web.client.post("/v1/functions/small", content=b"[1,2,3,45]").status_code == 202


def test_ledger_away_answers_503_and_recovers(start_web: Callable[..., Web], tmp_path: Path) -> None:
    """While Redis is down nothing is accepted and every caller is told when to come back; then all is well again."""
    with EmbeddedServer(tmp_path / "data") as server:
        web = start_web(server.url)
        web.deploy(function("greet"))
        server.kill()
        for response in (
            web.client.post("/v1/functions/greet", json={}),
            web.client.post("/v1/functions/greet", json={}, headers={"prefer": "wait=5"}),
            web.client.get("/v1/invocations"),
        ):
            assert_problem(response, 503, "ledger-unavailable")
            assert response.headers["retry-after"] == "1"
        assert "Redis" in assert_problem(web.client.get("/readyz"), 503, "not-ready")["detail"]
        assert web.client.get("/healthz").status_code == 200
        server.start()
        assert web.client.post("/v1/functions/greet", json={}).status_code == 202
        assert web.client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["out-of-memory", "read-only"],
)
def test_ledger_that_takes_no_writes_answers_503_and_recovers(
    start_web: Callable[..., Web], tmp_path: Path, breaks: tuple[str, ...], mends: tuple[str, ...]
) -> None:
    """A Redis that is full or a replica accepts nothing, and what it has can be read; once it is mended, all is well again."""
    with EmbeddedServer(tmp_path / "data") as server, redis.Redis.from_url(server.url) as connection:
        web = start_web(server.url)
        web.deploy(function("greet"))
        own = web.client.post("/v1/functions/greet", json={}).headers["location"]
        connection.execute_command(*breaks)
        for headers in ({}, {"prefer": "wait=5"}, {"idempotency-key": "k1"}):
            response = web.client.post("/v1/functions/greet", json={}, headers=headers)
            assert_problem(response, 503, "ledger-unavailable")
            assert response.headers["retry-after"] == "1"
        assert web.client.get(own).json()["status"] == "queued"
        connection.execute_command(*mends)
        assert web.client.post("/v1/functions/greet", json={}, headers={"idempotency-key": "k1"}).status_code == 202
        assert web.worker.waiting() == 2


def test_catalog_that_has_not_been_read_answers_503(start_web: Callable[..., Web], tmp_path: Path) -> None:
    """An edge that started without Redis does not say 404 for functions that may exist."""
    web = start_web(f"unix://{tmp_path}/nobody.sock")
    assert_problem(web.client.post("/v1/functions/greet", json={}), 503, "ledger-unavailable")


def test_stopping_server_ends_waits_at_once(start_web: Callable[..., Web], redis_url: str) -> None:
    """Who waits when the server stops is told what is known, not cut off."""
    web = start_web(redis_url)
    web.deploy(function("greet"))
    answers: list[httpx.Response] = []
    waiter = threading.Thread(
        target=lambda: answers.append(web.client.post("/v1/functions/greet", json={}, headers={"prefer": "wait=60"}))
    )
    waiter.start()
    web.worker.claim()
    web.close_edge()
    waiter.join(10)
    assert [answer.status_code for answer in answers] == [202]
