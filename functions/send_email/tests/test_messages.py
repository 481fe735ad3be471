"""Messages as they are built, read back from the spool: ids, templates, attachments, signatures, and what is refused."""

from __future__ import annotations

import base64
import email
import email.policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from runtime import Artifact, Context, GiveUp, MissingArtifactError
from runtime.testing import load

folder = load(Path(__file__).parents[1])
send_email = folder.send_email

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
MAIL: dict[str, Any] = {"to": ["ann@example.com"], "subject": "Hello", "text": "Hi"}


def context(tmp_path: Path, **secrets: str) -> Context:
    return Context(idempotency_key="order-7", state_dir=tmp_path / "state", secrets=secrets)


def _lines(part: Any) -> str:
    return part.get_content().replace("\r\n", "\n")


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


def test_dkim_signature(tmp_path: Path) -> None:
    """The signature verifies against the public key, and not once a header is changed or a second one is put in front."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ctx = context(tmp_path, MAIL_FROM="a@example.com", MAIL_DKIM_KEY=pem.decode(), MAIL_DKIM_SELECTOR="s1")
    send_email(**MAIL, list_unsubscribe="https://example.com/u", ctx=ctx)
    (file,) = (tmp_path / "state" / "spool").iterdir()
    content = file.read_bytes()

    def record(name: bytes, timeout: int = 5) -> bytes:
        assert name == b"s1._domainkey.example.com."
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)

    assert dkim.verify(content, dnsfunc=record)
    for name in ("From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "Content-Type"):
        header = f"\r\n{name}: ".encode()
        assert header in content
        assert not dkim.verify(content.replace(header, header + b"x"), dnsfunc=record), name
        assert not dkim.verify(header.lstrip() + b"x\r\n" + content, dnsfunc=record), name


def test_dkim_key_that_cannot_be_used(tmp_path: Path) -> None:
    """A broken key fails for good, and its text stays out of the error."""
    with pytest.raises(GiveUp, match="MAIL_DKIM_KEY") as caught:
        send_email(**MAIL, ctx=context(tmp_path, MAIL_FROM="a@example.com", MAIL_DKIM_KEY="topsecret"))
    assert "topsecret" not in str(caught.value)


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
        ({"attachments": [{"filename": "a", "content": ""}] * 101}, "^attachments: .* at most 100 items"),
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
