"""Server-sent events of an invocation: live, late, resumed, and at its end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.embedded import EmbeddedServer
from tests.http.serving import Web, function
from triggers.http import streams


@pytest.fixture
def greet(web: Web) -> Web:
    """An edge that serves `greet`."""
    web.deploy(function("greet"))
    return web


def accept(web: Web) -> str:
    own: str = web.client.post("/v1/functions/greet", json={}).json()["links"]["events"]
    return own


def frames(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The frames of a stream as {"id", "event", "data"}; comments as {"comment"}."""
    frame: dict[str, Any] = {}
    for line in response.iter_lines():
        if not line:
            yield frame
            frame = {}
        elif line.startswith(":"):
            frame = {"comment": line}
        else:
            name, _, value = line.partition(": ")
            frame[name] = json.loads(value) if name == "data" else value


def log(line: str) -> bytes:
    return json.dumps({"kind": "log", "stream": "stdout", "level": "INFO", "line": line}).encode()


def test_stream_tells_states_and_output_as_they_happen(greet: Web) -> None:
    """Each frame arrives while the invocation goes on, and the stream ends with it."""
    path = accept(greet)
    with greet.client.stream("GET", path) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-request-id"]
        coming = frames(response)
        assert next(coming)["data"]["status"] == "queued"
        claim = greet.worker.claim()
        assert next(coming)["data"] == {"id": claim.id, "status": "running", "attempt": 1}
        greet.worker.ledger.append_output(claim, [log("one"), b'{"kind":"progress","fraction":0.5,"note":""}'])
        one, half = next(coming), next(coming)
        assert (one["event"], one["data"]["line"]) == ("log", "one")
        assert (half["event"], half["data"]["fraction"]) == ("progress", 0.5)
        greet.worker.succeed(claim, output=[log("two")])
        assert next(coming)["data"]["line"] == "two"
        assert next(coming) == {"id": "end", "event": "status", "data": {"id": claim.id, "status": "succeeded", "attempt": 1}}
        assert list(coming) == []


def test_late_subscriber_misses_nothing_and_can_resume(greet: Web) -> None:
    """After the end the stream is replayed whole, or from the last frame seen; who has seen all gets 204."""
    path = accept(greet)
    claim = greet.worker.claim()
    greet.worker.ledger.append_output(claim, [log(str(n)) for n in range(600)])
    greet.worker.fail(claim, output=[log("600")])
    with greet.client.stream("GET", path) as response:
        found = list(frames(response))
    assert [frame["data"]["line"] for frame in found[:-1]] == [str(n) for n in range(601)]
    assert (found[-1]["data"]["status"], found[-1]["data"]["error"]["type"]) == ("failed", "ValueError")
    with greet.client.stream("GET", path, headers={"last-event-id": found[598]["id"]}) as response:
        resumed = list(frames(response))
    assert resumed == found[599:]
    again = greet.client.get(path, headers={"last-event-id": resumed[-1]["id"]})
    assert (again.status_code, again.content) == (204, b"")


@pytest.mark.parametrize("last", ["nonsense", "1-2-3", "9" * 30 + "-0", "-", "+", "(1-0"])
def test_last_event_id_that_is_none_of_ours_starts_anew(greet: Web, last: str) -> None:
    """A strange position replays everything instead of breaking."""
    path = accept(greet)
    greet.worker.succeed(greet.worker.claim(), output=[log("one")])
    response = greet.client.get(path, headers={"last-event-id": last})
    assert response.status_code == 200
    assert "one" in response.text


def test_silent_stream_is_kept_open_by_comments(greet: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is broken by a comment, so that nobody between takes the connection for dead."""
    monkeypatch.setattr(streams, "PING_S", 0.1)
    with greet.client.stream("GET", accept(greet)) as response:
        coming = frames(response)
        assert next(coming)["data"]["status"] == "queued"
        assert next(coming) == {"comment": ": ping"}


def test_stream_without_a_reader_ends(greet: Web, eventually: Callable[..., object]) -> None:
    """When the caller hangs up the stream lets go of its bell."""
    with greet.client.stream("GET", accept(greet)) as response:
        coming = frames(response)
        next(coming)
        assert greet.bells() == 1
    eventually(lambda: greet.bells() == 0)


def test_stream_without_a_reader_is_no_error_although_more_was_asked(
    greet: Web, eventually: Callable[..., object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A request that was sent behind the stream's does not hide that the caller has hung up: nothing is written any more."""
    monkeypatch.setattr(streams, "PING_S", 0.1)
    monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
    caplog.set_level(logging.ERROR, logger="uvicorn.error")
    with greet.connect() as connection:
        for path in (accept(greet), "/healthz"):
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        eventually(lambda: greet.bells() == 1)
    eventually(lambda: greet.bells() == 0)
    assert caplog.text == ""


def test_position_in_the_query(greet: Web) -> None:
    """Who can set no header, as a browser at its first request, says in the query where to go on."""
    path = accept(greet)
    greet.worker.succeed(greet.worker.claim(), output=[log("one"), log("two")])
    told = [frame for frame in frames(greet.client.get(path)) if frame.get("event") == "log"]
    again = greet.client.get(path, params={"last_event_id": told[0]["id"]}).text
    assert "two" in again
    assert "one" not in again
    assert greet.client.get(path, params={"last_event_id": "end"}).status_code == 204


def test_stream_ends_when_redis_goes_away(start_web: Callable[..., Web], tmp_path: Path) -> None:
    """A stream that cannot go on ends without its last frame, so that its reader comes back."""
    with EmbeddedServer(tmp_path / "data") as server:
        web = start_web(server.url)
        web.deploy(function("greet"))
        with web.client.stream("GET", accept(web)) as response:
            coming = frames(response)
            assert next(coming)["data"]["status"] == "queued"
            server.kill()
            web.ring_bells()
            assert [frame for frame in coming if frame.get("id") == "end"] == []
        server.start()


def test_stream_ends_when_the_server_stops(greet: Web) -> None:
    """A stopping server ends its streams; a browser reconnects by itself."""
    with greet.client.stream("GET", accept(greet)) as response:
        coming = frames(response)
        next(coming)
        greet.close_edge()
        assert list(coming) == []
