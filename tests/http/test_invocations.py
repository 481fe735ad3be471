"""Reading invocations: status, result, lists; and what is deployed."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta

import pytest

from runtime.authoring.manifest import Problem
from runtime.ledger.store import INLINE_BYTES, ResultStore
from runtime.versions.registry import Registry
from tests.http.serving import Web, assert_problem, function


@pytest.fixture
def greet(web: Web) -> Web:
    """An edge that serves `greet` and `other`."""
    web.deploy(function("greet", summary="Greet somebody"), function("other", options={"queue": "media"}))
    return web


def accept(web: Web, name: str = "greet") -> str:
    response = web.client.post(f"/v1/functions/{name}", json={})
    invocation_id: str = response.json()["id"]
    return invocation_id


def test_status_follows_an_invocation_to_its_end(greet: Web) -> None:
    """Each state is told, with times in UTC, what is kept of attempts, and where the result is."""
    own = f"/v1/invocations/{accept(greet)}"
    queued = greet.client.get(own)
    assert (queued.json()["status"], queued.json()["result"], queued.headers["retry-after"]) == ("queued", None, "1")
    claim = greet.worker.claim()
    assert greet.client.get(own).json()["status"] == "running"
    greet.worker.ledger.append_output(claim, [b'{"kind":"log","line":"x"}'], b'{"fraction":0.5,"note":"half"}')
    assert greet.client.get(own).json()["progress"] == {"fraction": 0.5, "note": "half"}
    greet.worker.succeed(claim, b"PNG", "image/png", filename="a.png")
    response = greet.client.get(own)
    document = response.json()
    assert "retry-after" not in response.headers
    assert (document["status"], document["attempt"], document["error"]) == ("succeeded", 1, None)
    assert document["accepted_at"] <= document["started_at"] <= document["ended_at"]
    assert document["ended_at"].endswith("Z")
    assert document["attempts"][0]["outcome"] == "succeeded"
    assert document["attempts"][0]["started_at"] == document["started_at"]
    assert (document["result"]["media_type"], document["result"]["size"], document["result"]["filename"]) == (
        "image/png",
        3,
        "a.png",
    )
    assert document["result"]["href"] == own + "/result"


def test_failed_invocation_is_a_good_answer_about_a_bad_end(greet: Web) -> None:
    """The status of a failure is 200; its result is the problem; the traceback stays with the attempt."""
    own = f"/v1/invocations/{accept(greet)}"
    greet.worker.fail(greet.worker.claim(), traceback="Traceback …")
    document = greet.client.get(own).json()
    assert document["status"] == "failed"
    assert document["error"] == {"kind": "raised", "type": "ValueError", "message": "no"}
    problem = assert_problem(greet.client.get(own + "/result"), 502, "function-failed")
    assert problem["instance"] == own


def test_input_is_the_event_it_was_accepted_with(greet: Web) -> None:
    """As JSON, whatever became of the invocation; a raw body comes beside it as base64."""
    own = f"/v1/invocations/{greet.client.post('/v1/functions/greet', json={'name': 'Ada'}).json()['id']}"
    greet.worker.fail(greet.worker.claim())
    given = greet.client.get(own + "/input").json()
    assert (given["type"], given["data"]) == ("oncue.invoke", {"name": "Ada"})
    assert "data_base64" not in given
    greet.deploy(function("image", blob_parameter="body"))
    raw = greet.client.post("/v1/functions/image", content=b"\xff\xd8", headers={"content-type": "image/jpeg"}).json()["id"]
    assert greet.client.get(f"/v1/invocations/{raw}/input").json()["data_base64"] == "/9g="
    assert_problem(greet.client.get("/v1/invocations/default-0/input"), 404, "unknown-invocation")


def test_retrying_invocation_shows_all_its_attempts(greet: Web) -> None:
    """Attempts beyond the first look at a record are read, too."""
    own = f"/v1/invocations/{accept(greet)}"
    for _ in range(6):
        greet.worker.fail(greet.worker.claim(), "retrying")
        assert greet.client.get(own).json()["due_at"]
        greet.worker.ledger.promote("default")
    document = greet.client.get(own).json()
    assert [attempt["attempt"] for attempt in document["attempts"]] == [1, 2, 3, 4, 5, 6]


def test_long_poll_returns_when_the_invocation_ends(greet: Web) -> None:
    """`Prefer: wait` on the status is told of the end, not polled for."""
    own = f"/v1/invocations/{accept(greet)}"
    claim = greet.worker.claim()
    done = threading.Event()
    thread = threading.Thread(target=lambda: (done.wait(0.2), greet.worker.succeed(claim)))
    thread.start()
    response = greet.client.get(own, headers={"prefer": "wait=15"})
    thread.join()
    assert (response.json()["status"], response.headers["preference-applied"]) == ("succeeded", "wait=15")
    assert response.elapsed.total_seconds() < 5


def test_unchanged_status_and_result_are_not_sent_again(greet: Web) -> None:
    """If-None-Match answers 304 until something changes."""
    own = f"/v1/invocations/{accept(greet)}"
    tag = greet.client.get(own).headers["etag"]
    unchanged = greet.client.get(own, headers={"if-none-match": f'"x", W/{tag}'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    greet.worker.succeed(greet.worker.claim(), b"1")
    assert greet.client.get(own, headers={"if-none-match": tag}).status_code == 200
    tag = greet.client.get(own + "/result").headers["etag"]
    assert greet.client.get(own + "/result", headers={"if-none-match": tag}).status_code == 304


def test_result_is_raw_typed_and_202_while_open(greet: Web) -> None:
    """An open result answers 202, a finished one its bytes in its media type; HEAD the same without them."""
    own = f"/v1/invocations/{accept(greet)}/result"
    assert greet.client.get(own).status_code == 202
    greet.worker.succeed(greet.worker.claim(), b'{"a":1}')
    response = greet.client.get(own)
    assert (response.status_code, response.content, response.headers["content-type"]) == (200, b'{"a":1}', "application/json")
    head = greet.client.head(own)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "7")


def test_large_result_comes_from_the_object_store(greet: Web) -> None:
    """A result that Redis does not hold is read from where it is."""
    invocation_id = accept(greet)
    claim = greet.worker.claim()
    body = b"x" * (INLINE_BYTES + 1)
    ResultStore(f"file://{greet.folder}").put(invocation_id, hashlib.sha256(body).hexdigest(), body)
    greet.worker.succeed(claim, body, "text/plain", place="store")
    assert greet.client.get(f"/v1/invocations/{invocation_id}/result").content == body


def test_empty_result_is_empty(greet: Web) -> None:
    """No bytes are a result, too."""
    own = f"/v1/invocations/{accept(greet)}/result"
    greet.worker.succeed(greet.worker.claim(), b"", "text/plain")
    assert (greet.client.get(own).status_code, greet.client.get(own).content) == (200, b"")


def test_invocation_that_has_expired(greet: Web) -> None:
    """An id tells when it was given: one of a time whose records are no longer kept is 410, not 404."""
    old = "default-01j00000000000000000000000"  # of 2024
    for tail in ("", "/result", "/events"):
        assert_problem(greet.client.get(f"/v1/invocations/{old}{tail}"), 410, "invocation-expired")
    assert_problem(greet.client.post(f"/v1/invocations/{old}/replay"), 410, "invocation-expired")
    assert_problem(greet.client.get(f"/v1/invocations/{old.replace('j', 'u')}"), 404, "unknown-invocation")


def test_result_that_is_gone_is_410(greet: Web) -> None:
    """Cancelled and expired results are gone."""
    cancelled = f"/v1/invocations/{accept(greet)}/result"
    greet.worker.fail(greet.worker.claim(), "cancelled")
    assert_problem(greet.client.get(cancelled), 410, "invocation-cancelled")
    expired = f"/v1/invocations/{accept(greet)}/result"
    greet.worker.succeed(greet.worker.claim(), b"x", result_ttl_s=0.001)
    threading.Event().wait(0.05)
    assert_problem(greet.client.get(expired), 410, "result-expired")


@pytest.mark.parametrize("invocation_id", ["default-7zzzzzzzzzzzzzzzzzzzzzzzzz", "nonsense", "default-UPPER", "x" * 300])
@pytest.mark.parametrize("tail", ["", "/result", "/events"])
def test_unknown_invocation_is_404(greet: Web, invocation_id: str, tail: str) -> None:
    """An id that never was is 404, however it is asked for."""
    assert_problem(greet.client.get(f"/v1/invocations/{invocation_id}{tail}"), 404, "unknown-invocation")


def test_list_pages_through_all_queues_newest_first(greet: Web) -> None:
    """A cursor and a Link lead through the list, without gap or repeat."""
    accepted = [accept(greet, ("greet", "other")[n % 2]) for n in range(7)]
    found, path = [], "/v1/invocations?limit=3"
    while path:
        response = greet.client.get(path)
        found += [item["id"] for item in response.json()["invocations"]]
        path = response.links["next"]["url"] if "link" in response.headers else ""
    assert sorted(found) == sorted(accepted)
    assert len(found) == 7


def test_list_filters_by_function_status_and_time(greet: Web) -> None:
    """Each filter narrows the list."""
    first, second = accept(greet), accept(greet, "other")
    greet.worker.succeed(greet.worker.claim())

    def ids(query: str) -> list[str]:
        return [item["id"] for item in greet.client.get(f"/v1/invocations?{query}").raise_for_status().json()["invocations"]]

    assert ids("function=other") == [second]
    assert ids("status=succeeded") == [first]
    assert ids("function=nobody") == []
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert ids(f"since={later.isoformat().replace('+00:00', 'Z')}") == []
    assert len(ids("since=2020-01-01T00:00:00Z")) == 2


@pytest.mark.parametrize(
    "query", ["status=odd", "limit=0", "limit=201", "limit=x", "since=now", "cursor=!!!", "cursor=AAAA", "colour=1"]
)
def test_list_query_that_cannot_be_read_is_refused(greet: Web, query: str) -> None:
    """Each wrong parameter is 400."""
    assert_problem(greet.client.get(f"/v1/invocations?{query}"), 400, "invalid-query")


def test_functions_are_listed_with_their_health(greet: Web) -> None:
    """The list has what a client needs to call each function, and how it has been doing."""
    accept(greet)
    greet.worker.succeed(greet.worker.claim())
    accept(greet)
    greet.worker.fail(greet.worker.claim())
    listed = greet.client.get("/v1/functions").json()
    assert [f["name"] for f in listed["functions"]] == ["greet", "other"]
    one = greet.client.get("/v1/functions/greet").json()
    assert one == listed["functions"][0]
    assert (one["summary"], one["folder"], one["url"]) == ("Greet somebody", "tests", "/v1/functions/greet")
    assert one["health"] == {"succeeded": 1, "retrying": 0, "failed": 1, "cancelled": 0}
    assert one["input_schema"]["type"] == "object"
    assert one["options"]["retries"] == 3
    assert_problem(greet.client.get("/v1/functions/gret"), 404, "unknown-function")


def test_quarantined_folder_is_listed_with_its_reason(greet: Web) -> None:
    """A folder that cannot serve says why, and the others serve on."""
    registry = Registry(greet.redis_url)
    registry.quarantine(Problem(folder="broken", file="__init__.py", line=3, reason="SyntaxError: no"))
    registry.close()
    greet.deploy(function("greet"))
    quarantined = greet.client.get("/v1/functions").json()["quarantined"]
    assert quarantined == [{"folder": "broken", "file": "__init__.py", "line": 3, "reason": "SyntaxError: no"}]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not-found"),
        ("GET", "/v1", 404, "not-found"),
        ("GET", "/v1/functions/", 404, "not-found"),
        ("GET", "/v1/functions/greet/more", 404, "not-found"),
        ("POST", "/v1/functions/greet/more", 404, "unknown-function"),
        ("DELETE", "/v1/functions", 405, "method-not-allowed"),
        ("POST", "/healthz", 405, "method-not-allowed"),
    ],
)
def test_path_or_method_nobody_serves_is_a_problem(greet: Web, method: str, path: str, status: int, code: str) -> None:
    """Unknown paths are 404, wrong methods 405 with Allow; both as problem documents."""
    response = greet.client.request(method, path)
    assert_problem(response, status, code)
    assert ("allow" in response.headers) == (status == 405)


def test_defect_of_the_server_is_a_problem_without_a_trace(greet: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is 500 and says only where the log has it."""

    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(greet.ledger, "counts", broken)
    response = greet.client.get("/v1/functions")
    assert_problem(response, 500, "internal-error")
    assert "hunter2" not in response.text
    assert greet.client.get("/healthz").status_code == 200
