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

import dkim
import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from runtime import Artifact, Context, GiveUp, MissingArtifactError, Retry
from runtime.testing import load

folder = load(Path(__file__).parents[1])
send_email = folder.send_email

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


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


MAIL: dict[str, Any] = {"to": ["ann@example.com"], "subject": "Hello", "text": "Hi"}


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


def test_message_id_of_a_repeat(tmp_path: Path) -> None:
    """The same idempotency key gives the same Message-ID and one spooled file; another key gives another."""
    first, repeat = (send_email(**MAIL, ctx=context(tmp_path)) for _ in range(2))
    other = send_email(**MAIL, ctx=Context(idempotency_key="order-8", state_dir=tmp_path / "state"))
    assert first["message_id"] == repeat["message_id"] != other["message_id"]
    assert len(list((tmp_path / "state" / "spool").iterdir())) == 2


def test_spool_without_a_server(tmp_path: Path) -> None:
    """Without SMTP_URL the mail is one .eml file with everything in it, Bcc too, and nothing half-written is left."""
    result = send_email(**MAIL, bcc="dan@example.com", ctx=context(tmp_path))
    (file,) = (tmp_path / "state" / "spool").iterdir()
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert (message["To"], message["Bcc"], message["From"]) == ("ann@example.com", "dan@example.com", "oncue@localhost")
    assert file.suffix == ".eml"
    assert message["Message-ID"] == result["message_id"]
    assert _lines(message) == "Hi\n"


def test_spool_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spool keeps the newest files only."""
    monkeypatch.setattr(folder.delivery, "MAX_SPOOLED", 3)
    for number in range(5):
        send_email(**MAIL, ctx=Context(idempotency_key=str(number), state_dir=tmp_path))
    assert len(list((tmp_path / "spool").iterdir())) == 3


def test_template_with_hostile_values(tmp_path: Path) -> None:
    """Values are escaped in the HTML and left as they are in the text."""
    values = {"name": "<script>alert(1)</script>", "link": "https://example.com"}
    send_email(to="ann@example.com", subject="Hello", template="welcome", values=values, ctx=context(tmp_path))
    (file,) = (tmp_path / "state" / "spool").iterdir()
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert "&lt;script&gt;" in message.get_body(("html",)).get_content()
    assert "<script>alert(1)</script>" in message.get_body(("plain",)).get_content()


@pytest.mark.parametrize(
    ("template", "values", "reason"),
    [("../welcome", {}, "no template"), ("welcome", {"name": "Ann"}, "'link' is undefined"), ("", {}, "no template")],
)
def test_template_that_does_not_fit(template: str, values: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """An unknown template and a missing value fail for good, and say which."""
    with pytest.raises(GiveUp, match=reason):
        send_email(to="ann@example.com", subject="Hello", template=template, values=values, ctx=context(tmp_path))


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


@pytest.mark.parametrize("url", ["http://x", "smtp://", "smtp://x:99999", "smtp://u:topsecret@x?tls=1", "smtp://x?starttls=no"])
def test_smtp_url_that_cannot_be_used(url: str, tmp_path: Path) -> None:
    """The error says how to write the URL and never shows it, since it holds a password."""
    with pytest.raises(GiveUp, match="write smtp://user:password@host") as caught:
        send_email(**MAIL, ctx=context(tmp_path, SMTP_URL=url))
    assert "topsecret" not in str(caught.value)


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


def test_dkim_signature(tmp_path: Path) -> None:
    """The signature verifies against the public key, and not once the message is changed."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ctx = context(tmp_path, MAIL_FROM="a@example.com", MAIL_DKIM_KEY=pem.decode(), MAIL_DKIM_SELECTOR="s1")
    send_email(**MAIL, ctx=ctx)
    (file,) = (tmp_path / "state" / "spool").iterdir()
    content = file.read_bytes()

    def record(name: bytes, timeout: int = 5) -> bytes:
        assert name == b"s1._domainkey.example.com."
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)

    assert dkim.verify(content, dnsfunc=record)
    assert not dkim.verify(content.replace(b"Subject: Hello", b"Subject: Hell"), dnsfunc=record)


def test_dkim_key_that_cannot_be_used(tmp_path: Path) -> None:
    """A broken key fails for good, and its text stays out of the error."""
    with pytest.raises(GiveUp, match="MAIL_DKIM_KEY") as caught:
        send_email(**MAIL, ctx=context(tmp_path, MAIL_FROM="a@example.com", MAIL_DKIM_KEY="topsecret"))
    assert "topsecret" not in str(caught.value)


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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"to": []}, "1 to 100 recipients"),
        ({"to": [f"a{n}@example.com" for n in range(101)]}, "not 101"),
        ({"to": "a@example.com, b@example.com"}, "is no e-mail address"),
        ({"to": "a@example.com\n"}, "control character"),
        ({"to": "ä@example.com"}, "is no e-mail address"),
        ({"text": None}, "needs a text"),
        ({"sender": "eve@other.example"}, "is not allowed"),
        ({"attachments": [{"filename": "a", "content": "%%%"}]}, "attachments/0/content: .*base64"),
        ({"attachments": [{"filename": "../a", "content": ""}]}, "leave folders out"),
        ({"attachments": [{"filename": "a", "content": "", "media_type": "message/rfc822"}]}, "cannot be attached"),
        ({"attachments": [{"filename": "a", "content": "A" * 4 * 7_000_000}]}, "bytes; 26214400 are allowed"),
        ({"list_unsubscribe": "http://example.com"}, "no https:// or mailto:"),
    ],
)
def test_mail_that_cannot_be_sent(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """What no retry can mend fails for good, in a sentence that names it."""
    with pytest.raises(GiveUp, match=reason):
        send_email(**{**MAIL, **change}, ctx=context(tmp_path, MAIL_FROM="a@example.com"))


def test_allowed_domains(tmp_path: Path) -> None:
    """Recipients go to the listed domains, and below those written with a dot; every field is checked."""
    ctx = context(tmp_path, MAIL_ALLOWED_DOMAINS="Example.com, .corp.example")
    send_email(**{**MAIL, "to": ["a@EXAMPLE.com", "b@mail.corp.example"]}, ctx=ctx)
    for field in ("to", "cc", "bcc"):
        with pytest.raises(GiveUp, match="outside MAIL_ALLOWED_DOMAINS"):
            send_email(**{**MAIL, field: "a@badexample.com"}, ctx=ctx)


def context_with(**artifacts: Artifact) -> Context:
    """A context that knows these results by id."""

    def read(invocation_id: str) -> Artifact:
        if invocation_id not in artifacts:
            raise MissingArtifactError(f"there is no invocation {invocation_id!r}")
        return artifacts[invocation_id]

    return Context(artifact=read)


def spooled(ctx: Context) -> EmailMessage:
    """The one message in a context's spool."""
    (path,) = (ctx.state_dir / "spool").glob("*.eml")
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.mark.parametrize(
    ("artifact", "more", "name", "media_type"),
    [
        (Artifact(PNG, "image/png", "small.png"), {}, "small.png", "image/png"),
        (
            Artifact(PNG, "image/png", "small.png"),
            {"filename": "own.dat", "media_type": "application/x-own"},
            "own.dat",
            "application/x-own",
        ),
        (Artifact(PNG, "image/png"), {}, "attachment.png", "image/png"),
        (Artifact(PNG, "text/csv; charset=utf-8", "a.csv"), {}, "a.csv", "text/csv"),
    ],
)
def test_attached_result_of_an_invocation(artifact: Artifact, more: dict[str, str], name: str, media_type: str) -> None:
    """It is attached under its own name and media type, or those given; its bytes are what they were."""
    ctx = context_with(made=artifact)
    send_email("ann@example.com", "Hi", "See below.", attachments=[{"invocation": "made", **more}], ctx=ctx)
    (attachment,) = spooled(ctx).iter_attachments()
    assert (attachment.get_filename(), attachment.get_content_type()) == (name, media_type)
    assert attachment.get_payload(decode=True) == PNG


@pytest.mark.parametrize(
    ("attachment", "words"),
    [
        ({"invocation": "absent"}, "there is no invocation 'absent'"),
        ({"invocation": "made", "content": "", "filename": "a"}, "either its content or an invocation"),
        ({"filename": "a"}, "either its content or an invocation"),
        ({"invocation": "made"}, "leave folders out"),
    ],
)
def test_attachment_without_a_source(attachment: dict[str, str], words: str) -> None:
    """A result that is not there, two sources, none, and a result with a bad name give up, saying so."""
    ctx = context_with(made=Artifact(PNG, "image/png", "../small.png"))
    with pytest.raises(GiveUp, match=words):
        send_email("ann@example.com", "Hi", "See below.", attachments=[attachment], ctx=ctx)
