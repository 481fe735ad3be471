"""SMTP servers that misbehave: each ends in a retry or in giving up, in bounded time, and spoils nothing that follows."""

from __future__ import annotations

import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import pytest
import trustme

from runtime import Context, GiveUp, Retry
from runtime.testing import load

folder = load(Path(__file__).parents[1])
send_email = folder.send_email

MAIL: dict[str, Any] = {"to": ["ann@example.com"], "subject": "Hello", "text": "Hi\n" * 50_000}

#: What a server answers: bytes, then goes on; HANG_UP and SILENCE, after which nothing comes.
HANG_UP, SILENCE = "hang up", "silence"
USUAL: dict[str, bytes | str] = {"greeting": b"220 peer", "EHLO": b"250-peer\r\n250 SIZE 99999999", "DATA": b"354 go on"}
STARTTLS: dict[str, bytes | str] = {"EHLO": b"250-peer\r\n250 STARTTLS"}


class Peer(socketserver.ThreadingTCPServer):
    """A server that says what it is told to; `heard` is what it was told, a connection a list."""

    def __init__(self, replies: Mapping[str, bytes | str], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Dialogue)
        self.replies = {**USUAL, **replies}
        self.tls = tls
        #: what it says otherwise from the next connection on
        self.on_new_connection: dict[str, bytes | str] = {}
        self.heard: list[list[str]] = []
        self.stopped = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of these tests."""


class Dialogue(socketserver.StreamRequestHandler):
    server: Peer

    def handle(self) -> None:
        heard: list[str] = []
        self.server.heard.append(heard)
        self.server.replies.update(self.server.on_new_connection)
        if not self.answers("greeting"):
            return
        while line := self.rfile.readline():
            verb = line[:8].split()[0].decode().upper()
            heard.append(verb)
            if not self.answers(verb):
                return
            if verb == "DATA":
                if self.server.replies.get("text") == HANG_UP:
                    self.rfile.read(10_000)
                    # An abort, not a goodbye: what is still under way is lost.
                    self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                    return
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                if not self.answers("."):
                    return
            if verb == "STARTTLS" and self.server.tls:
                self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def answers(self, name: str) -> bool:
        reply = self.server.replies.get(name, b"250 fine")
        if isinstance(reply, bytes):
            self.wfile.write(reply + b"\r\n")
            return True
        if reply == SILENCE:
            self.server.stopped.wait(30)
        return False


@pytest.fixture
def serve() -> Iterator[Callable[..., Peer]]:
    peers: list[tuple[Peer, threading.Thread]] = []

    def start(replies: Mapping[str, bytes | str], tls: ssl.SSLContext | None = None) -> Peer:
        peer = Peer(replies, tls)
        thread = threading.Thread(target=peer.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        peers.append((peer, thread))
        return peer

    yield start
    folder.delivery.close_idle()
    for peer, thread in peers:
        peer.stopped.set()
        peer.shutdown()
        thread.join()
        peer.server_close()


def send(peer: Peer, *, login: str = "", more: str = "") -> dict[str, Any]:
    url = f"smtp://{login}localhost:{peer.server_address[1]}{more}"
    result: dict[str, Any] = send_email(**MAIL, ctx=Context(secrets={"SMTP_URL": url}))
    return result


@pytest.mark.parametrize(
    ("replies", "error", "words"),
    [
        ({"greeting": b"421 too many connections"}, Retry, "said: 421 too many connections"),
        ({"greeting": b"554 go away"}, GiveUp, "said: 554 go away"),
        ({"greeting": b"HTTP/1.1 400 Bad Request"}, Retry, "said: -1"),
        ({"greeting": b"220 " + b"x" * 100_000}, GiveUp, "Line too long"),
        ({"greeting": HANG_UP}, Retry, "cannot be reached"),
        ({"greeting": SILENCE}, Retry, "timed out"),
        ({"EHLO": SILENCE}, Retry, "timed out"),
        ({"MAIL": b"452 disk full"}, Retry, "said: 452 disk full"),
        ({"MAIL": b"553 not from you"}, GiveUp, "said: 553 not from you"),
        ({"RCPT": b"421 shutting down"}, Retry, "421 shutting down"),
        ({"RCPT": HANG_UP}, Retry, "cannot be reached"),
        ({"DATA": b"451 later"}, Retry, "said: 451 later"),
        ({"DATA": b"503 \x1b[31mno\x07"}, GiveUp, "503 \ufffd"),
        ({"text": HANG_UP}, Retry, "cannot be reached"),
        ({".": b"421 shutting down"}, Retry, "said: 421 shutting down"),
        ({".": HANG_UP}, Retry, "cannot be reached"),
        ({".": SILENCE}, Retry, "cannot be reached"),
        ({**STARTTLS, "STARTTLS": b"454 no TLS now"}, Retry, "said: 454 no TLS now"),
        ({**STARTTLS, "STARTTLS": b"501 no TLS at all"}, GiveUp, "said: 501 no TLS at all"),
        ({**STARTTLS, "STARTTLS": HANG_UP}, Retry, "cannot be reached"),
        ({**STARTTLS, "STARTTLS": b"220 go on\r\nthis is no TLS"}, Retry, "cannot be reached"),
    ],
)
def test_server_that_fails(
    replies: dict[str, bytes | str],
    error: type[Exception],
    words: str,
    serve: Callable[..., Peer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What may pass is retried, what will not is final, in the server's words; the connection is not used again."""
    monkeypatch.setattr(folder.delivery, "TIMEOUT_S", 0.5)
    with pytest.raises(error, match=words):
        send(serve(replies))
    good = serve({})
    assert send(good)["accepted"] == ["ann@example.com"]
    assert good.heard == [["EHLO", "MAIL", "RCPT", "DATA"]]


@pytest.mark.parametrize("goodbye", [b"421 idle for too long", HANG_UP, SILENCE])
def test_kept_connection_that_died(goodbye: bytes | str, serve: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says goodbye, hangs up or is silent between two mails costs a new connection, not the second mail."""
    monkeypatch.setattr(folder.delivery, "TIMEOUT_S", 0.5)
    peer = serve({"NOOP": goodbye})
    for _ in range(2):
        assert send(peer)["accepted"] == ["ann@example.com"]
    mail = ["EHLO", "MAIL", "RCPT", "DATA"]
    assert peer.heard == [[*mail, "NOOP"], mail]


def test_kept_connection_that_was_used_enough(serve: Callable[..., Peer]) -> None:
    """A server that takes no second mail over one connection gets it over another, at once."""
    peer = serve({"NOOP": b"250 fine"})
    send(peer)
    peer.replies["MAIL"] = b"421 too many mails"
    peer.on_new_connection = {"MAIL": b"250 fine"}
    assert send(peer)["accepted"] == ["ann@example.com"]
    assert peer.heard == [["EHLO", "MAIL", "RCPT", "DATA", "NOOP", "MAIL"], ["EHLO", "MAIL", "RCPT", "DATA"]]


@pytest.fixture
def tls(tmp_path: Path) -> Callable[[str], tuple[ssl.SSLContext, str]]:
    """Make a server's context with a certificate for a name, and the query that trusts its authority."""

    def make(name: str) -> tuple[ssl.SSLContext, str]:
        authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        return context, f"?ca={tmp_path / 'ca.pem'}"

    return make


def test_certificate_for_another_name(serve: Callable[..., Peer], tls: Callable[[str], tuple[ssl.SSLContext, str]]) -> None:
    """A trusted authority's certificate for somebody else is not this server's."""
    context, trusted = tls("other.example")
    peer = serve({**STARTTLS, "STARTTLS": b"220 go on"}, context)
    with pytest.raises(GiveUp, match=r"is not trusted: Hostname mismatch"):
        send(peer, more=trusted)
    assert peer.heard == [["EHLO", "STARTTLS"]]


def test_words_slipped_in_before_tls(serve: Callable[..., Peer], tls: Callable[[str], tuple[ssl.SSLContext, str]]) -> None:
    """What somebody on the way adds to the answer in the clear is not taken for the server's own behind TLS."""
    context, trusted = tls("localhost")
    peer = serve({**STARTTLS, "STARTTLS": b"220 go on\r\n250-peer\r\n250 AUTH PLAIN"}, context)
    with pytest.raises(GiveUp, match="AUTH extension not supported"):
        send(peer, login="user:secret@", more=trusted)
    assert peer.heard == [["EHLO", "STARTTLS", "EHLO"]]


def test_password_that_is_refused(serve: Callable[..., Peer], tls: Callable[[str], tuple[ssl.SSLContext, str]]) -> None:
    """It is final, and the password is in no word of it."""
    context, trusted = tls("localhost")
    peer = serve({"EHLO": b"250-peer\r\n250-STARTTLS\r\n250 AUTH PLAIN", "STARTTLS": b"220 go on", "AUTH": b"535 no"}, context)
    with pytest.raises(GiveUp, match="said: 535 no") as caught:
        send(peer, login="user:topsecret@", more=trusted)
    assert "topsecret" not in str(caught.value)
