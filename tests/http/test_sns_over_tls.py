"""Amazon SNS from end to end: its hosts are played by a TLS server on loopback, with a certificate authority of its own."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time

import certifi
import httpx
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa

from runtime.authoring.triggers import HttpTrigger
from tests.http.serving import Web, assert_problem, event_of, function
from tests.http.test_sns import HOST, KEY, PEM, TOPIC, certificate, message
from triggers.http.signatures import certificates as fetching
from triggers.http.signatures.certificates import Certificates

NEW_KEY = rsa.generate_private_key(65537, 2048)
NEW_URL = f"{HOST}/SimpleNotificationService-4567.pem"


class Amazon:
    """A server with a certificate for `name`; `asked` are the paths that were fetched from it, with their Host."""

    def __init__(self, authority: trustme.CA, name: str) -> None:
        self.asked: list[tuple[str, str]] = []
        amazon = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                amazon.asked.append((self.headers["host"], self.path))
                body = certificate(NEW_KEY) if "4567" in self.path else PEM
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Loopback(fetching._Pinned):
    """What is pinned to a public address otherwise; a port of loopback in place of 443 is all that differs."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1")
        self._port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(port=self._port)
        return await super().handle_async_request(request)

    async def aclose(self) -> None:
        """Each fetch closes its own otherwise; this one serves all of a test."""


@pytest.fixture
def play(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Amazon]]:
    """`play(name)` has a server with a certificate for `name` stand for Amazon's hosts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "authority.pem"))
    web.deploy(
        function("ordered", triggers=(HttpTrigger(method="POST", path="/sns", verify="sns", topics=(TOPIC,), confirm=True),))
    )
    playing: list[Amazon] = []

    def start(name: str) -> Amazon:
        amazon = Amazon(authority, name)
        playing.append(amazon)
        web.edge._hooks._certificates = Certificates(_Loopback(amazon.port))
        return amazon

    yield start
    for amazon in playing:
        amazon.close()


def post(web: Web, body: bytes) -> httpx.Response:
    return web.client.post("/sns", content=body, headers={"content-type": "text/plain; charset=UTF-8"})


@pytest.mark.parametrize("version", ["1", "2"])
def test_topic_from_its_subscription_on(web: Web, play: Callable[[str], Amazon], version: str) -> None:
    """A subscription is confirmed at Amazon's host, a message runs the function once, and a new certificate is taken."""
    amazon = play("sns.us-east-1.amazonaws.com")
    host = HOST.removeprefix("https://")
    confirmed = post(web, message("SubscriptionConfirmation", version, time()))
    assert (confirmed.status_code, confirmed.json()) == (200, {"confirmed": TOPIC})
    assert amazon.asked == [
        (host, "/SimpleNotificationService-0123.pem"),
        (host, "/?Action=ConfirmSubscription&Token=t"),
    ]
    first, second = (post(web, message(version=version, at=time())) for _ in range(2))
    assert (first.status_code, second.status_code, second.json()["duplicate"]) == (202, 200, True)
    rotated = message(version=version, at=time(), key=NEW_KEY, MessageId="m-2", SigningCertURL=NEW_URL)
    assert post(web, rotated).status_code == 202
    crossed = message(version=version, at=time(), key=KEY, MessageId="m-3", SigningCertURL=NEW_URL)
    assert_problem(post(web, crossed), 401, "signature-invalid")
    assert [path for _, path in amazon.asked[2:]] == ["/SimpleNotificationService-4567.pem"]
    assert [event_of(web.worker.claim())["id"] for _ in range(2)] == ["22b80b92", "m-2"]
    assert web.worker.waiting() == 2


def test_host_that_is_not_amazons_behind_amazons_name(web: Web, play: Callable[[str], Amazon]) -> None:
    """Whoever answers under Amazon's name shows a certificate for it; else nothing is read, and nobody is let in."""
    amazon = play("sns.evil.example")
    response = post(web, message(at=time()))
    assert_problem(response, 503, "verification-unavailable")
    assert response.headers["retry-after"] == "60"
    assert (amazon.asked, web.worker.waiting()) == ([], 0)
