"""What reaches the server before any request does: smuggling shapes, stalled connections, floods."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable

import httpx
import pytest

from tests.http.serving import ImpatientProtocol, Web, event_of, function
from triggers.http.protocol import GuardedProtocol
from triggers.http.refusals import (
    BODY_S,
    HEADERS_S,
    MAX_FRAMING_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_TARGET_BYTES,
    UNREAD_S,
)

POST = b"POST /v1/functions/any HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
UPGRADE = (
    b"GET /v1/invocations/x/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


@pytest.fixture
def any_web(web: Web) -> Web:
    """An edge whose one function takes any data."""
    web.deploy(function("any"))
    return web


@pytest.fixture
def impatient(impatient_web: Web) -> Web:
    """The same with short deadlines."""
    impatient_web.deploy(function("any"))
    return impatient_web


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def talk(web: Web, sent: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes."""
    with web.connect() as connection:
        connection.sendall(sent)
        return read_all(connection)


SMUGGLING = {
    "length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
    "two hosts": POST.replace(b" /", b" http://other.example/") + b"Content-Length: 2\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "two equal lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length beyond all bounds": POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "bare line feeds": POST.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}",
    "a folded header": POST + b"Content-Length:\r\n 2\r\n\r\n{}",
    "a space before the colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "an unknown transfer coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a signed chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a chunk size with an underscore": POST + b"Transfer-Encoding: chunked\r\n\r\n0_2\r\n{}\r\n0\r\n\r\n",
    "a NUL in a header": POST + b"X-A: \x00\r\nContent-Length: 2\r\n\r\n{}",
    "a control character in the target": b"GET /\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a trailer that frames": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 7\r\n\r\n",
    "chunks in HTTP/1.0": POST.replace(b"/1.1", b"/1.0")
    + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "a WebSocket with a body": UPGRADE + b"Content-Length: 2\r\n\r\n{}",
    "a WebSocket by POST with a body": UPGRADE.replace(b"GET", b"POST") + b"Content-Length: 2\r\n\r\n{}",
    "a WebSocket with a long line": UPGRADE + b"X-A: " + b"a" * 9000 + b"\r\n\r\n",
    "CONNECT": b"CONNECT other:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT to a path": b"CONNECT /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("sent", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_ambiguous_request_is_refused_and_the_connection_ends(any_web: Web, sent: bytes) -> None:
    """What two servers may read differently is 400, nothing behind it is read as a request, and nothing was accepted."""
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: smuggled\r\n\r\n"
    answer = talk(any_web, sent + smuggled)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"application/problem+json" in answer
    assert b"x-request-id: " in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert any_web.worker.waiting() == 0


def test_chunk_extensions_are_ignored(any_web: Web) -> None:
    """A chunk extension is legal and means nothing (RFC 9112, section 7.1.1)."""
    answer = talk(any_web, POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 202 ")


def test_trailer_is_no_header(any_web: Web) -> None:
    """What a proxy checks among headers cannot come behind the body (RFC 9110, section 6.5.1)."""
    trailers = (
        b"Prefer: wait=1\r\nIdempotency-Key: late\r\nHost: other.example\r\nX-Request-Id: late\r\nExpect: 100-continue\r\n"
    )
    head = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = talk(any_web, head + b"2\r\n{}\r\n0\r\n" + trailers + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert b"preference-applied" not in answer
    assert b"x-request-id: late" not in answer
    claim = any_web.worker.claim()
    assert claim.key == claim.id


FRAMING_FLOODS = {
    "an extension without an end": b"2;a=",
    "a trailer without an end": b"2\r\n{}\r\n0\r\nX-A: ",
    "many extensions": b"1;a=%s\r\n{\r\n" % (b"a" * 5000) * 5,
}


@pytest.mark.parametrize("path", [b"/v1/functions/any", b"/v1/functions/nobody"], ids=["a wanted body", "an unwanted body"])
@pytest.mark.parametrize("flood", FRAMING_FLOODS.values(), ids=FRAMING_FLOODS.keys())
def test_flood_of_framing_is_cut(any_web: Web, flood: bytes, path: bytes) -> None:
    """What a chunked body has beside its data is bounded, whether anybody wants the body or not."""
    head = POST.replace(b"/v1/functions/any", path) + b"Transfer-Encoding: chunked\r\n\r\n"
    sent = 0
    with any_web.connect() as connection:
        connection.sendall(head)
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(flood if sent == 0 else b"a" * 4096)
                sent += 4096
                assert any_web.client.get("/healthz").status_code == 200  # the piece is read before the next one is sent
        answer = read_all(connection)
    assert sent < 20 * MAX_FRAMING_BYTES
    assert re.match(rb"HTTP/1.1 40[04] ", answer) or answer == b""
    assert any_web.worker.waiting() == 0


def test_body_in_small_chunks(any_web: Web) -> None:
    """A sender may write its body byte by byte, each in a chunk of its own."""
    body = b'"%s"' % (b"a" * 30_000)
    chunks = [b"1\r\n%c\r\n" % byte for byte in body]
    answer = talk(any_web, POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 202 ")


def test_request_that_names_no_host(any_web: Web) -> None:
    """HTTP/1.1 asks for one (RFC 9112, section 3.2); HTTP/1.0 does not."""
    assert talk(any_web, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert talk(any_web, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("target", [b"http://LOCALHOST/healthz", b"http://localhost/healthz?a=http://b"])
def test_target_that_is_a_whole_url(any_web: Web, target: bytes) -> None:
    """A client that takes this for a proxy asks so (RFC 9112, section 3.2.2)."""
    answer = talk(any_web, b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target)
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_chunks_that_are_compressed(any_web: Web) -> None:
    """A coding besides chunked is not undone, so it is not taken for the data."""
    head = POST + b"Connection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    assert talk(any_web, head + b"2\r\n{}\r\n0\r\n\r\n").startswith(b"HTTP/1.1 415 ")


def test_upgrade_that_is_not_made(any_web: Web) -> None:
    """Who asks for HTTP/2 (as Java's client does) goes on in HTTP/1.1: its body is read, and so is what follows."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    sent = b"".join(POST + upgrade + b"Content-Length: 7\r\n\r\n" + b'{"a":%d}' % n for n in range(2))
    answer = talk(any_web, sent + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"202", b"202", b"200"]
    assert [event_of(any_web.worker.claim())["data"] for _ in range(2)] == [{"a": 0}, {"a": 1}]


def test_websocket_behind_a_request_under_way(any_web: Web) -> None:
    """Two protocols never write at once: the answer comes, and the connection ends."""
    waiting = POST + b"Prefer: wait=1\r\nContent-Length: 2\r\n\r\n{}"
    answer = talk(any_web, waiting + UPGRADE + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_garbage_behind_a_request_does_not_cost_it_its_answer(any_web: Web) -> None:
    """A request that was complete is answered in full; the connection ends with it."""
    answer = talk(any_web, POST + b"Content-Length: 2\r\n\r\n{}" + b"\x00garbage\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_garbage_behind_a_queued_request(any_web: Web) -> None:
    """All that were complete are answered, in order; the connection ends with the last of them."""
    waiting = POST + b"Prefer: wait=1\r\nContent-Length: 2\r\n\r\n{}"
    healthy = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = talk(any_web, waiting + healthy + b"\x00garbage\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"202", b"200"]


def test_pipelined_requests_are_answered_in_order(any_web: Web) -> None:
    """Requests sent in one go get their answers one after the other."""
    requests = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: r%d\r\n" % n for n in range(20)]
    answer = talk(any_web, b"\r\n".join(requests) + b"Connection: close\r\n\r\n")
    assert [part.split(b"\r\n")[0] for part in answer.split(b"x-request-id: ")[1:]] == [b"r%d" % n for n in range(20)]


HEADER_FLOODS = {
    "many headers": b"".join(b"X-%d: 1\r\n" % n for n in range(MAX_HEADERS + 1)),
    "one long header": b"X-A: " + b"a" * (MAX_HEADER_BYTES + 1) + b"\r\n",
    "many long headers": b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(20)),
    "a header without an end": b"X-A: " + b"a" * 1_000_000,
    "a long name": b"X" * (MAX_HEADER_BYTES + 1) + b": 1\r\n",
}


@pytest.mark.parametrize("flood", HEADER_FLOODS.values(), ids=HEADER_FLOODS.keys())
def test_flood_of_headers_is_cut(any_web: Web, flood: bytes) -> None:
    """A header block beyond its bounds is 431, also before it ends."""
    with any_web.connect() as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + flood)
            connection.sendall(b"\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 431 ") or (answer == b"" and len(flood) > 10**5), answer


@pytest.mark.parametrize("size", [MAX_TARGET_BYTES + 1, 60_000, 1_000_000])
def test_target_that_is_too_long(any_web: Web, size: int) -> None:
    """A path or a query beyond its bound is 414, whether it comes in one piece or in many, or without an end."""
    with any_web.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for piece in (b"GET /healthz?", *(b"a" * 10_000 for _ in range(size // 10_000)), b"a" * (size % 10_000)):
                connection.sendall(piece)
            connection.sendall(b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 414 ") or (answer == b"" and size > 10**5), answer


def test_first_header_without_an_end(any_web: Web) -> None:
    """It is 431, and no matter of the target."""
    with any_web.connect() as connection:
        for piece in (b"GET /healthz HTTP/1.1\r\nX-A: ", b"a" * 2 * (MAX_TARGET_BYTES + MAX_HEADER_BYTES), b"a"):
            connection.sendall(piece)
            assert any_web.client.get("/healthz").status_code == 200  # the piece is read before the next one is sent
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_headers_within_their_bounds_are_taken(any_web: Web) -> None:
    """Just below the bounds all is well, in one piece or in several."""
    flood = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 140) for n in range(MAX_HEADERS - 2))
    sent = b"GET /healthz?%s HTTP/1.1\r\nHost: localhost\r\n" % (b"a" * (MAX_TARGET_BYTES - 10)) + flood
    with any_web.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), 4000):
            connection.sendall(sent[start : start + 4000])
            assert any_web.client.get("/healthz").status_code == 200  # the piece is read before the next one is sent
        connection.sendall(b"Connection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


STALLS = {
    "says nothing": b"",
    "stops in the request line": b"GET /heal",
    "stops in the headers": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    "sends empty lines": b"\r\n\r\n",
}


@pytest.mark.parametrize("sent", STALLS.values(), ids=STALLS.keys())
def test_connection_that_stalls_before_its_headers_is_cut(impatient: Web, sent: bytes) -> None:
    """Headers have a deadline from their first byte, and trickling does not renew it."""
    with impatient.connect() as connection:
        began = time.monotonic()
        connection.sendall(sent)
        connection.settimeout(0.1)
        answer = b""
        while time.monotonic() - began < 5:
            try:
                part = connection.recv(4096)
            except TimeoutError:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(b"\r\n" if sent.startswith(b"\r") else b"a" if sent else b"")
                continue
            except ConnectionError:
                break
            answer += part
            if not part:
                break
    assert ImpatientProtocol.headers_s * 0.9 <= time.monotonic() - began < 4
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_deadlines_as_they_are_shipped() -> None:
    """Whoever stalls holds a connection for ten seconds of headers and thirty of body at most."""
    assert (GuardedProtocol.headers_s, GuardedProtocol.body_s) == (HEADERS_S, BODY_S)
    assert HEADERS_S <= 10
    assert BODY_S <= 30


def test_body_that_stalls_is_cut(impatient: Web) -> None:
    """A body has a deadline, and trickling does not renew it."""
    with impatient.connect() as connection:
        began = time.monotonic()
        connection.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        answer = read_all(connection)
    assert ImpatientProtocol.body_s * 0.9 <= time.monotonic() - began < 4
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"body-timeout" in answer


class HastyProtocol(GuardedProtocol):
    """Deadlines shorter than a wait of one second."""

    headers_s = 0.2
    body_s = 0.5


def test_body_that_stalls_behind_a_request_under_way(start_web: Callable[..., Web], redis_url: str) -> None:
    """Its deadline begins with its turn: the request before it gets its own answer, and 408 comes after that."""
    web = start_web(redis_url, HastyProtocol)
    web.deploy(function("any"))
    waiting = POST + b"Prefer: wait=1\r\nContent-Length: 2\r\n\r\n{}"
    answer = talk(web, waiting + POST + b"Content-Length: 100\r\n\r\n{")
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"202", b"408"]


def test_unwanted_body_cannot_hold_a_connection(impatient: Web) -> None:
    """After the answer, the rest of a body that nobody reads has the headers' deadline."""
    with impatient.connect() as connection:
        began = time.monotonic()
        connection.sendall(b"POST /v1/functions/nobody HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        connection.settimeout(0.1)
        open_ = True
        while open_ and time.monotonic() - began < 5:
            try:
                open_ = connection.recv(4096) != b""
            except TimeoutError:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(b" ")
            except ConnectionError:
                open_ = False
    assert not open_
    assert time.monotonic() - began < 4


def test_stalled_connections_do_not_hold_others_up(impatient: Web, eventually: Callable[..., object]) -> None:
    """Two hundred stalled connections are gone after the deadline, and meanwhile others are served."""
    stalled = [impatient.connect() for _ in range(200)]
    for connection in stalled:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
    assert impatient.client.get("/healthz").elapsed.total_seconds() < 2
    for connection in stalled:
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")
        connection.close()


def flooded(web: Web) -> socket.socket:
    """A connection that asks for more than the system's buffers hold, and reads nothing yet."""
    connection = web.connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    length = len(httpx.get(f"http://127.0.0.1:{web.port}/openapi.json").content)
    connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * (12_000_000 // length))
    return connection


def test_answer_that_nobody_reads_is_cut(impatient: Web, eventually: Callable[..., object]) -> None:
    """Who takes nothing of an answer does not hold it, and a connection, for ever."""
    with flooded(impatient):
        assert impatient.connections() >= 1
        eventually(lambda: impatient.connections() == 0)
    assert UNREAD_S <= 30


def test_answer_that_is_read_slowly_goes_on(impatient: Web) -> None:
    """Who takes a little now and then is served on, however long it takes."""
    with flooded(impatient) as connection:
        ends = time.monotonic() + 3 * ImpatientProtocol.unread_s
        while time.monotonic() < ends:
            assert connection.recv(4096)
            time.sleep(ImpatientProtocol.unread_s / 20)
        assert impatient.connections() == 1


def test_long_wait_is_no_stall(impatient: Web) -> None:
    """The deadlines end with the request; its answer may take as long as it takes, and the connection goes on."""
    response = impatient.client.post("/v1/functions/any", json={}, headers={"prefer": "wait=2"})
    assert response.status_code == 202
    assert impatient.client.get("/healthz").status_code == 200


def test_expected_continue_is_sent_only_for_a_body_that_is_wanted(any_web: Web) -> None:
    """Who asks first is told 413 instead of 100, and the connection ends; else 100 comes."""
    head = POST + b"Expect: 100-continue\r\nConnection: close\r\n"
    assert talk(any_web, head + b"Content-Length: 5000000\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert talk(any_web, head + b"Content-Length: 2\r\n\r\n{}").startswith(b"HTTP/1.1 100 ")
    older = head.replace(b"/1.1", b"/1.0") + b"Content-Length: 2\r\n\r\n{}"
    assert talk(any_web, older).startswith(b"HTTP/1.1 202 ")
