"""An invocation over a WebSocket: the frames of its stream, live, late and resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from runtime.ledger.keys import new_id
from tests.http.serving import ImpatientProtocol, Web, function


@pytest.fixture
def greet(web: Web) -> Web:
    """An edge that serves `greet`."""
    web.deploy(function("greet"))
    return web


def accept(web: Web) -> str:
    own: str = web.client.post("/v1/functions/greet", json={}).json()["links"]["self"]
    return own


def live(web: Web, path: str, **more: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{web.port}{path}", open_timeout=10, **more)


def frames(connection: ClientConnection) -> Iterator[dict[str, Any]]:
    """The frames until the connection is closed."""
    for message in connection:
        assert isinstance(message, str)
        yield json.loads(message)


def log(line: str) -> bytes:
    return json.dumps({"kind": "log", "stream": "stdout", "level": "INFO", "line": line}).encode()


def test_frames_as_they_happen(greet: Web) -> None:
    """States and output arrive while the invocation goes on, and the end closes the connection."""
    path = accept(greet)
    with live(greet, path + "/live") as connection:
        assert connection.response is not None
        assert connection.response.headers["x-request-id"]
        coming = frames(connection)
        assert next(coming)["data"]["status"] == "queued"
        claim = greet.worker.claim()
        assert next(coming) == {"event": "status", "data": {"id": claim.id, "status": "running", "attempt": 1}}
        greet.worker.ledger.append_output(claim, [log("one"), b'{"kind":"progress","fraction":0.5,"note":""}'])
        assert [next(coming)["event"] for _ in range(2)] == ["log", "progress"]
        greet.worker.succeed(claim, output=[log("two")])
        assert next(coming)["data"]["line"] == "two"
        assert next(coming)["id"] == "end"
        assert list(coming) == []
        assert connection.close_code == 1000


def test_same_frames_as_the_stream(greet: Web) -> None:
    """Who comes late gets all, who comes back what is left, and who has seen the end nothing."""
    path = accept(greet)
    claim = greet.worker.claim()
    greet.worker.ledger.append_output(claim, [log(str(number)) for number in range(600)])
    greet.worker.fail(claim)
    with live(greet, path + "/live") as connection:
        found = list(frames(connection))
    streamed = [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in greet.client.get(path + "/events").text.strip().split("\n\n")
    ]
    assert [(frame["id"], frame["event"], frame["data"]) for frame in found] == [
        (frame["id"], frame["event"], json.loads(frame["data"])) for frame in streamed
    ]
    with live(greet, f"{path}/live?last_event_id={found[597]['id']}") as connection:
        assert list(frames(connection)) == found[598:]
    with live(greet, path + "/live", additional_headers={"last-event-id": "end"}) as connection:
        assert list(frames(connection)) == []


def test_what_is_not_there(greet: Web) -> None:
    """A refusal is a problem document, as it is without a WebSocket."""
    for path, status in ((f"/v1/invocations/{new_id('default')}/live", 404), ("/v1/invocations/x/events", 404), ("/", 404)):
        with pytest.raises(InvalidStatus) as refused:
            live(greet, path)
        response = refused.value.response
        assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
        assert json.loads(response.body or b"")["request_id"] == response.headers["x-request-id"]


def test_page_of_another_site(greet: Web) -> None:
    """A browser says whose page asks: another site's is refused, our own is not."""
    path = accept(greet) + "/live"
    with pytest.raises(InvalidStatus) as refused:
        live(greet, path, origin="https://evil.example")
    assert refused.value.response.status_code == 403
    with live(greet, path, origin=f"http://127.0.0.1:{greet.port}") as connection:
        assert next(frames(connection))["event"] == "status"


def test_reader_that_leaves(greet: Web, eventually: Callable[..., object]) -> None:
    """Its bell is let go of."""
    with live(greet, accept(greet) + "/live") as connection:
        next(frames(connection))
        assert greet.bells() == 1
    eventually(lambda: greet.bells() == 0)


def test_reader_that_talks_too_much(greet: Web, eventually: Callable[..., object]) -> None:
    """What a reader says means nothing, and a flood ends the connection."""
    with live(greet, accept(greet) + "/live") as connection:
        next(frames(connection))
        connection.send("hello")
        with pytest.raises(ConnectionClosed):
            connection.send(os.urandom(100_000).hex())
            connection.recv()
    eventually(lambda: greet.bells() == 0)


def test_server_that_stops(greet: Web) -> None:
    """It tells its readers to come back."""
    with live(greet, accept(greet) + "/live") as connection:
        next(frames(connection))
        greet.close_edge()
        with pytest.raises(ConnectionClosed):
            while True:
                connection.recv()
        assert connection.close_code == 1012


def test_open_connection_is_no_stalled_request(impatient_web: Web) -> None:
    """The deadlines of a request end with the upgrade."""
    impatient_web.deploy(function("greet"))
    path = accept(impatient_web)
    with live(impatient_web, path + "/live") as connection:
        coming = frames(connection)
        assert next(coming)["data"]["status"] == "queued"
        with pytest.raises(TimeoutError):
            connection.recv(timeout=2 * ImpatientProtocol.body_s)
        impatient_web.worker.succeed(impatient_web.worker.claim())
        assert list(coming)[-1]["id"] == "end"


BAD_HANDSHAKES = {
    "another version": (426, b"GET", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n"),
    "no version": (426, b"GET", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
    "no key": (400, b"GET", b"Sec-WebSocket-Version: 13\r\n"),
    "a short key": (400, b"GET", b"Sec-WebSocket-Key: abc=\r\nSec-WebSocket-Version: 13\r\n"),
    "another method": (400, b"PUT", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"),
}


@pytest.mark.parametrize(("status", "method", "headers"), BAD_HANDSHAKES.values(), ids=BAD_HANDSHAKES.keys())
def test_handshake_that_is_none(greet: Web, status: int, method: bytes, headers: bytes) -> None:
    """It is refused as any other request is: a problem with an id; the version that is spoken is named."""
    upgrade = b" /v1/invocations/x/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    with greet.connect() as connection:
        connection.sendall(method + upgrade + headers + b"\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/problem+json\r\n" in answer
    assert b"x-request-id: " in answer
    assert (b"sec-websocket-version: 13\r\n" in answer) is (status == 426)
