"""Fetching by URL: from real servers on loopback, and never from anywhere private that is not allowed."""

from __future__ import annotations

import io
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from runtime import Context, GiveUp, Retry
from runtime.testing import load

module = load(Path(__file__).parents[1])
thumbnail, fetch = module.thumbnail, module.fetch
fetching = sys.modules[fetch.__module__]
is_public = fetching.is_public


PRIVATE = """
0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8 192.0.2.1
192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 ::127.0.0.1 ::ffff:10.0.0.1 64:ff9b::127.0.0.1 64:ff9b::a00:1 64:ff9b:1::1 100::1 2001:0:1::1 2001:0:4136:e378:8000:63bf:fefe:fefe 2001:db8::1
2002:7f00:1:: 2002:a00:1::1 3fff::1 5f00::1 fc00::1 fd12:3456::1 fe80::1 fec0::1 ff02::1 ff0e::1
"""


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (400, 300), (10, 120, 200)).save(file, "PNG")
    return file.getvalue()


class Site(BaseHTTPRequestHandler):
    """Answers by path and remembers the requests in `server.seen`."""

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Host"]))
        path = self.path.partition("?")[0]
        if path == "/photo.png":
            self.answer(200, picture())
        elif path == "/moved":
            self.answer(302, b"", Location="http://169.254.169.254/latest/meta-data/")
        elif path.startswith("/status/"):
            self.answer(int(path.rpartition("/")[2]), b"no")
        elif path == "/endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(bytes(65536))
        elif path == "/huge":
            self.send_response(200)
            self.send_header("Content-Length", str(10**12))
            self.end_headers()
        elif path == "/drip":
            self.send_response(200)
            self.end_headers()
            while not self.server.stopped.wait(0.02):
                self.wfile.write(b".")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Site)
        self.seen: list[tuple[str, str]] = []
        self.stopped = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of these tests."""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[tuple[Server, threading.Thread]] = []

    def start(certificate: Path | None = None) -> Server:
        server = Server()
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


def get(server: Server, path: str, *, max_bytes: int = 1_000_000, host: str = "localhost", scheme: str = "http") -> bytes:
    place = f"{host}:{server.server_port}"
    return fetch(f"{scheme}://{place}{path}", max_bytes=max_bytes, allowed_hosts=frozenset({place}))


def test_image_by_url(serve: Callable[..., Server]) -> None:
    """A URL on an allowed host is fetched, its query and port included, and becomes a thumbnail."""
    server = serve()
    ctx = Context(secrets={"THUMBNAIL_ALLOWED_HOSTS": f"intranet.example, 127.0.0.1:{server.server_port}"})
    artifact = thumbnail(url=f"http://127.0.0.1:{server.server_port}/photo.png?größe=1 2", width=40, ctx=ctx)
    assert Image.open(io.BytesIO(artifact.content)).size == (40, 30)
    assert server.seen == [("/photo.png?gr%C3%B6%C3%9Fe=1%202", f"127.0.0.1:{server.server_port}")]


def test_https_checks_the_certificate_for_the_name(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """Though connected by address, TLS speaks for the name: a trusted one passes, an unknown one is refused."""
    certificate = Path(__file__).with_name("localhost.pem")
    server = serve(certificate)
    with pytest.raises(GiveUp, match="the certificate of 'localhost' is not valid"):
        get(server, "/photo.png", scheme="https")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert get(server, "/photo.png", scheme="https") == picture()
    with pytest.raises(GiveUp, match=r"the certificate of '127\.0\.0\.1' is not valid"):
        get(server, "/photo.png", scheme="https", host="127.0.0.1")


def test_loopback_is_refused_by_default(serve: Callable[..., Server]) -> None:
    """Without an allow-list nothing is even asked, whatever spelling the address has."""
    server = serve()
    spelled = (
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "0",
    )
    for host in (*spelled, "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "[::]"):
        with pytest.raises(GiveUp, match="leads to a private address"):
            thumbnail(url=f"http://{host}:{server.server_port}/photo.png", ctx=Context())
    assert server.seen == []


def test_one_private_address_among_public_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to several addresses is refused when any of them is private."""
    answers = [(0, 0, 0, "", (address, 80)) for address in ("93.184.215.14", "10.0.0.7")]
    monkeypatch.setattr(fetching.socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(GiveUp, match=r"'two-faced\.example' leads to a private address"):
        fetch("http://two-faced.example/", max_bytes=1)


def test_name_is_resolved_once(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address that was judged; a second, different answer is never asked for."""
    server, asked = serve(), []
    real = fetching.socket.getaddrinfo

    def resolve(host: str, *rest: object, **options: object) -> object:
        asked.append(host)
        return real("127.0.0.1" if host == "rebinding.example" else host, *rest, **options)

    monkeypatch.setattr(fetching.socket, "getaddrinfo", resolve)
    assert get(server, "/photo.png", host="rebinding.example") == picture()
    assert asked.count("rebinding.example") == 1
    assert server.seen == [("/photo.png", f"rebinding.example:{server.server_port}")]


@pytest.mark.parametrize(
    "address",
    PRIVATE.split(),
)
def test_private_address(address: str) -> None:
    """Loopback, private, link-local, shared, reserved and documentation ranges, wrapped or not, are not public."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1"])
def test_public_address(address: str) -> None:
    """Addresses of the internet pass, also those that NAT64 or a mapped form wraps."""
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/a.png",
        "//example.com/a.png",
        "photo.png",
        "",
        "http://",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://example.com:99999/",
        "http://[::1/",
        "http://exa mple..com/",
        "http://" + "a" * 300 + ".com/",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "http://example.com/\ud800?\ud800",
    ],
)
def test_url_that_is_not_fit(url: str) -> None:
    """Other schemes, user names and malformed hosts end the invocation at once."""
    with pytest.raises(GiveUp, match=r"send one like|send an http or https URL"):
        thumbnail(url=url, ctx=Context())


def test_redirect_is_not_followed(serve: Callable[..., Server]) -> None:
    """A redirect is the classic way inside; the error names where it led."""
    with pytest.raises(GiveUp, match=r"redirects to 'http://169\.254\.169\.254"):
        get(serve(), "/moved")


@pytest.mark.parametrize(("status", "error"), [(404, GiveUp), (403, GiveUp), (204, GiveUp), (429, Retry), (503, Retry)])
def test_status_of_the_other_side(serve: Callable[..., Server], status: int, error: type[Exception]) -> None:
    """What may pass is retried; what will not is final."""
    with pytest.raises(error, match=f"answered {status}"):
        get(serve(), f"/status/{status}")


@pytest.mark.parametrize("path", ["/huge", "/endless"])
def test_body_beyond_the_limit(serve: Callable[..., Server], path: str) -> None:
    """A body that says it is too large is not read; one that does not say is read up to the limit."""
    with pytest.raises(GiveUp, match="more than 100,000 bytes"):
        get(serve(), path, max_bytes=100_000)


def test_body_that_drips_for_ever(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte at a time keeps every single read happy; the deadline for the whole ends it."""
    monkeypatch.setattr(fetching, "DEADLINE_S", 0.2)
    with pytest.raises(Retry, match=r"took longer than 0\.2 s"):
        get(serve(), "/drip")


def test_host_that_is_down(serve: Callable[..., Server]) -> None:
    """A refused connection may be better in a minute, so it is retried."""
    server = serve()
    server.server_close()
    with pytest.raises(Retry, match="did not answer as it should"):
        get(server, "/photo.png", host="127.0.0.1")
