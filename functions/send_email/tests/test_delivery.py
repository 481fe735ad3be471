"""Real SMTP servers on loopback, plain and with TLS; messages are parsed back from what those servers received."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import socket
import ssl
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from runtime import Context, GiveUp, Retry
from runtime.testing import load

folder = load(Path(__file__).parents[1])
send_email = folder.send_email

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
MAIL: dict[str, Any] = {"to": ["ann@example.com"], "subject": "Hello", "text": "Hi"}


class Inbox:
    """Keeps what it is given; answers `replies` to recipients and data that match."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.servers: list[SMTP] = []
        self.recipient_replies: dict[str, str] = {}
        self.data_reply = ""

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802  # aiosmtpd's name
        if reply := self.recipient_replies.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        if self.data_reply:
            return self.data_reply
        self.envelopes.append(envelope)
        self.servers.append(server)
        return "250 kept"

    @property
    def messages(self) -> list[EmailMessage]:
        return [email.message_from_bytes(envelope.content, policy=email.policy.default) for envelope in self.envelopes]


class Server(Controller):
    """A server on a free port; the stock probe of its readiness would knock at port 0."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        socket.create_connection((self.hostname, self.port)).close()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def serve(inbox: Inbox) -> Iterator[Callable[..., str]]:
    """Start a server and return its host and port."""
    running: list[Controller] = []

    def start(**options: Any) -> str:
        server = Server(inbox, hostname="127.0.0.1", port=0, **options)
        server.start()
        running.append(server)
        return f"localhost:{server.port}"

    yield start
    folder.delivery.close_idle()
    for server in running:
        server.stop()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    """A server context for localhost, and the file of the authority that vouches for it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return context, str(tmp_path / "ca.pem")


def context(tmp_path: Path, **secrets: str) -> Context:
    return Context(idempotency_key="order-7", state_dir=tmp_path / "state", secrets=secrets)


def _lines(part: Any) -> str:
    return part.get_content().replace("\r\n", "\n")


def test_delivery_with_everything(serve: Callable[..., str], inbox: Inbox, tmp_path: Path) -> None:
    """Every part arrives as it was given, Bcc only in the envelope, and text is derived from the HTML."""
    ctx = context(tmp_path, SMTP_URL=f"smtp://{serve()}", MAIL_FROM="Shop <shop@example.com>")
    result = send_email(
        to=["Ann Ä <ann@example.com>", "bob@example.com"],
        cc="cyd@example.com",
        bcc=["dan@example.com", "ANN@example.com"],
        reply_to="help@example.com",
        subject="Grüße, " + "größer " * 30 + "!",
        html='<style>p{}</style><p>See <a href="https://example.com/a">this</a></p><ul><li>one</li></ul><img src="cid:logo">',
        attachments=[
            {"filename": "lögo.png", "content": base64.b64encode(PNG).decode(), "content_id": "logo"},
            {"filename": "a.bin", "content": base64.b64encode(PNG).decode(), "media_type": "application/x-own"},
        ],
        list_unsubscribe="https://example.com/u/" + "x" * 200,
        ctx=ctx,
    )
    everyone = ["ann@example.com", "bob@example.com", "cyd@example.com", "dan@example.com"]
    assert result == {"message_id": result["message_id"], "accepted": everyone, "refused": {}}
    assert inbox.envelopes[0].mail_from == "shop@example.com"
    assert inbox.envelopes[0].rcpt_tos == everyone
    (message,) = inbox.messages
    assert str(message["From"]) == "Shop <shop@example.com>"
    assert [(a.display_name, a.addr_spec) for a in message["To"].addresses] == [("Ann Ä", everyone[0]), ("", everyone[1])]
    assert (message["Cc"], message["Reply-To"], message["Bcc"]) == ("cyd@example.com", "help@example.com", None)
    assert message["Subject"] == "Grüße, " + "größer " * 30 + "!"
    assert message["Message-ID"] == result["message_id"]
    assert message["List-Unsubscribe"] == "<https://example.com/u/" + "x" * 200 + ">"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert _lines(message.get_body(("plain",))) == "See this (https://example.com/a)\n\n- one\n"
    assert "cid:logo" in message.get_body(("html",)).get_content()
    parts = {part.get_filename(): part for part in message.walk() if part.get_filename()}
    assert parts["lögo.png"].get_content() == parts["a.bin"].get_content() == PNG
    assert (parts["lögo.png"]["Content-ID"], parts["lögo.png"].get_content_type()) == ("<logo>", "image/png")
    assert (parts["a.bin"].get_content_type(), parts["a.bin"].get_content_disposition()) == ("application/x-own", "attachment")


def test_letters_beyond_ascii(serve: Callable[..., str], inbox: Inbox, tmp_path: Path) -> None:
    """The message travels as ASCII: a server without 8BITMIME would have to change it, and its DKIM signature would break."""
    mail = {**MAIL, "to": "Ä <ann@example.com>", "subject": "Grüße", "text": "größer", "html": "<p>größer"}
    send_email(**mail, ctx=context(tmp_path, SMTP_URL=f"smtp://{serve()}"))
    assert inbox.envelopes[0].content.isascii()
    assert _lines(inbox.messages[0].get_body(("plain",))) == "größer\n"


def test_starttls_with_login(serve: Callable[..., str], inbox: Inbox, tls: tuple[ssl.SSLContext, str], tmp_path: Path) -> None:
    """STARTTLS is used when offered, the certificate is checked against `ca`, and the login travels inside it."""
    logins = []

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        logins.append((session.ssl is not None, data.login, data.password))
        return AuthResult(success=True)

    place = serve(tls_context=tls[0], require_starttls=True, authenticator=authenticate, auth_required=True)
    url = f"smtp://us%40er:p%3Aw@{place}?starttls=required&ca={tls[1]}"
    assert send_email(**MAIL, ctx=context(tmp_path, SMTP_URL=url))["accepted"] == ["ann@example.com"]
    assert logins == [(True, b"us@er", b"p:w")]


def test_implicit_tls(serve: Callable[..., str], inbox: Inbox, tls: tuple[ssl.SSLContext, str], tmp_path: Path) -> None:
    """smtps:// speaks TLS from the start."""
    place = serve(ssl_context=tls[0])
    assert send_email(**MAIL, ctx=context(tmp_path, SMTP_URL=f"smtps://{place}?ca={tls[1]}"))["refused"] == {}
    assert len(inbox.messages) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_untrusted_certificate(
    scheme: str, serve: Callable[..., str], inbox: Inbox, tls: tuple[ssl.SSLContext, str], tmp_path: Path
) -> None:
    """A certificate of an unknown authority stops the mail before a byte of it is sent."""
    place = serve(ssl_context=tls[0]) if scheme == "smtps" else serve(tls_context=tls[0])
    with pytest.raises(GiveUp, match="is not trusted"):
        send_email(**MAIL, ctx=context(tmp_path, SMTP_URL=f"{scheme}://{place}"))
    assert inbox.envelopes == []


@pytest.mark.parametrize("url", ["smtp://user:pw@{}", "smtp://{}?starttls=required"])
def test_starttls_that_is_not_offered(url: str, serve: Callable[..., str], inbox: Inbox, tmp_path: Path) -> None:
    """Without STARTTLS neither a password nor a mail that requires it is sent."""
    with pytest.raises(GiveUp, match="no STARTTLS"):
        send_email(**MAIL, ctx=context(tmp_path, SMTP_URL=url.format(serve())))
    assert inbox.envelopes == []


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "smtp://",
        "smtp://x:99999",
        "smtp://u:topsecret@x?tls=1",
        "smtp://u:t%C3%B6psecret@x",
        "smtp://x?starttls=no",
    ],
)
def test_smtp_url_that_cannot_be_used(url: str, tmp_path: Path) -> None:
    """The error says how to write the URL and never shows it, since it holds a password."""
    with pytest.raises(GiveUp, match="write smtp://user:password@host") as caught:
        send_email(**MAIL, ctx=context(tmp_path, SMTP_URL=url))
    assert "psecret" not in str(caught.value)


@pytest.mark.parametrize(("reply", "error"), [("451 busy, come back", Retry), ("554 we do not like it", GiveUp)])
def test_refused_data(reply: str, error: type[Exception], serve: Callable[..., str], inbox: Inbox, tmp_path: Path) -> None:
    """A 4xx reply asks for a retry, a 5xx reply gives up; both carry the server's words."""
    inbox.data_reply = reply
    with pytest.raises(error, match=reply):
        send_email(**MAIL, ctx=context(tmp_path, SMTP_URL=f"smtp://{serve()}"))


@pytest.mark.parametrize(("reply", "error"), [("450 greylisted", Retry), ("550 no such user", GiveUp)])
def test_every_recipient_refused(
    reply: str, error: type[Exception], serve: Callable[..., str], inbox: Inbox, tmp_path: Path
) -> None:
    """When nobody was accepted nothing was sent, so a 4xx reply can be retried."""
    inbox.recipient_replies = {"ann@example.com": reply}
    with pytest.raises(error, match=f"ann@example.com: {reply}"):
        send_email(**MAIL, ctx=context(tmp_path, SMTP_URL=f"smtp://{serve()}"))


def test_one_recipient_refused(serve: Callable[..., str], inbox: Inbox, tmp_path: Path) -> None:
    """The others get the mail, and the result names who was refused, and why."""
    inbox.recipient_replies = {"bob@example.com": "550 no such user"}
    mail = {**MAIL, "to": ["ann@example.com", "bob@example.com"]}
    result = send_email(**mail, ctx=context(tmp_path, SMTP_URL=f"smtp://{serve()}"))
    assert result["accepted"] == ["ann@example.com"] == inbox.envelopes[0].rcpt_tos
    assert result["refused"] == {"bob@example.com": "550 no such user"}


def test_connection_is_kept_and_renewed(serve: Callable[..., str], inbox: Inbox, tmp_path: Path) -> None:
    """The next mail uses the same connection; one that the server has dropped meanwhile is replaced."""
    ctx = context(tmp_path, SMTP_URL=f"smtp://{serve()}")
    for _ in range(2):
        send_email(**MAIL, ctx=ctx)
    assert inbox.servers[0] is inbox.servers[1]
    server = inbox.servers[0]
    asyncio.run_coroutine_threadsafe(_drop(server), server.loop).result(timeout=5)
    send_email(**MAIL, ctx=ctx)
    assert len(inbox.envelopes) == 3
    assert inbox.servers[2] is not server


async def _drop(server: SMTP) -> None:
    server.transport.abort()


def test_server_that_is_away(tmp_path: Path) -> None:
    """A refused connection is retried."""
    with pytest.raises(Retry, match="cannot be reached"):
        send_email(**MAIL, ctx=context(tmp_path, SMTP_URL="smtp://localhost:1"))


@pytest.mark.parametrize(
    "body",
    ["", ".", "\r\n.\r\nMAIL FROM:<x>\r\n", "From here\n", "x" * 3000, "שלום ‮ rtl", "Z̸a̡lgo", "🍆" * 500, "a\rb"],
    ids=ascii,
)
def test_body_with_naughty_text(body: str, serve: Callable[..., str], inbox: Inbox, tmp_path: Path) -> None:
    """Dots, long lines, other scripts and lone line ends arrive as text, in one message."""
    send_email(**{**MAIL, "text": body}, ctx=context(tmp_path, SMTP_URL=f"smtp://{serve()}"))
    (message,) = inbox.messages
    assert _lines(message).splitlines() == (body.splitlines() or [""])
