"""Builds a message from checked parts: a text part always, HTML with its inline images, attachments.

Its headers are written here line by line. `EmailMessage`, which writes the body, would fold them: Python 3.11 loses
spaces between encoded words, encodes long addresses, and reads what it folds once more (CVE-2024-6923).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Annotated, Any, Self

import dkim
from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, model_validator

from runtime import Context, GiveUp, MissingArtifactError

from .addresses import check_domains, checked, chosen_sender, encoded, parsed_all, unique, written
from .plain_text import plain_text

MAX_RECIPIENTS = 100
#: of the finished message; common servers refuse more
MAX_MESSAGE_BYTES = 25 * 2**20

_JOINT = ",\r\n "
# ASCII only: a server on the way that has no 8BITMIME would change the body, and the DKIM signature would not fit any more.
_POLICY = SMTP.clone(cte_type="7bit")
_MEDIA_TYPE = re.compile(r"([a-z]+)/([a-z0-9][a-z0-9.+_-]{0,99})")
_CONTENT_ID = re.compile(r"[A-Za-z0-9._@+-]{1,200}")
_UNSUBSCRIBE = re.compile(r"(?:https://|mailto:)[A-Za-z0-9._~:/?#@!$&'()*+;=%-]{1,800}")


def _from_base64(value: object) -> object:
    if isinstance(value, str):
        try:
            return base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("the content is written as base64") from error
    return value


class Attachment(BaseModel):
    """A file of a message: its content, or the id of the invocation whose result it is.

    With a `content_id`, it is an image that the HTML shows as `<img src="cid:…">`.
    """

    model_config = ConfigDict(extra="forbid")

    filename: str = ""
    content: Annotated[
        bytes | None, BeforeValidator(_from_base64), WithJsonSchema({"type": "string", "contentEncoding": "base64"})
    ] = None
    invocation: str | None = None
    media_type: str | None = None
    content_id: str | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.content is None) == (self.invocation is None):
            raise ValueError("a file has either its content or an invocation")
        return self

    def fetched(self, ctx: Context) -> Attachment:
        """Return it with its content; a name and a media type that are absent are those of the invocation's result.

        Raises:
            GiveUp: the invocation has no result.
        """
        if self.invocation is None:
            return self
        try:
            artifact = ctx.artifact(self.invocation)
        except MissingArtifactError as error:
            raise GiveUp(str(error)) from None
        extension = mimetypes.guess_extension(artifact.media_type) or ""
        return Attachment(
            filename=self.filename or artifact.filename or f"attachment{extension}",
            content=artifact.read(),
            media_type=self.media_type or artifact.media_type.partition(";")[0],
            content_id=self.content_id,
        )

    def arguments(self) -> dict[str, Any]:
        """Return what `EmailMessage` wants to know about it.

        Raises:
            GiveUp: its name, media type or content id cannot be used.
        """
        checked("attachment filename", self.filename, 200)
        if not self.filename.strip(". ") or re.search(r"[/\\]", self.filename):
            raise GiveUp(f"attachment filename {self.filename!a} is no plain file name; leave folders out")
        media_type = self.media_type or mimetypes.guess_type(self.filename)[0] or "application/octet-stream"
        match = _MEDIA_TYPE.fullmatch(media_type.lower())
        if not match or match[1] in ("multipart", "message"):
            raise GiveUp(f"attachment media_type {media_type!a} cannot be attached; use one like 'application/pdf'")
        arguments = {"maintype": match[1], "subtype": match[2], "filename": self.filename}
        if self.content_id is None:
            return arguments
        if not _CONTENT_ID.fullmatch(self.content_id):
            raise GiveUp(f"attachment content_id {self.content_id!a} is not letters, digits and '._@+-'")
        return {**arguments, "cid": f"<{self.content_id}>", "disposition": "inline"}


@dataclass(slots=True)
class Message:
    """A finished message with its envelope."""

    message_id: str
    sender: Address
    #: addresses in order, each once
    recipients: tuple[str, ...]
    bcc: tuple[Address, ...]
    content: bytes

    @classmethod
    def build(
        cls,
        *,
        to: str | list[str],
        cc: str | list[str],
        bcc: str | list[str],
        reply_to: str | list[str],
        sender: str | None,
        senders: str | None,
        allowed_domains: str | None,
        subject: str,
        text: str | None,
        html: str | None,
        attachments: list[Attachment],
        list_unsubscribe: str | None,
        key: str,
    ) -> Message:
        """Return the message; its Message-ID follows from `key`.

        Raises:
            GiveUp: a part cannot be used; the sentence names it.
        """
        fields = {"To": parsed_all("to", to), "Cc": parsed_all("cc", cc), "Reply-To": parsed_all("reply_to", reply_to)}
        hidden = parsed_all("bcc", bcc)
        everyone = unique((*fields["To"], *fields["Cc"], *hidden))
        if not 0 < len(everyone) <= MAX_RECIPIENTS:
            raise GiveUp(f"a message goes to 1 to {MAX_RECIPIENTS} recipients, not {len(everyone)}")
        check_domains(everyone, allowed_domains)
        origin = chosen_sender(sender, senders)
        message_id = f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{origin.domain}>"
        lines = [
            f"Message-ID: {message_id}",
            f"Date: {format_datetime(datetime.now(UTC))}",
            f"From: {written(origin)}",
            *(f"{name}: {_JOINT.join(map(written, addresses))}" for name, addresses in fields.items() if addresses),
            f"Subject: {encoded(checked('subject', subject.strip()))}",
            *_unsubscribe(list_unsubscribe),
        ]
        body = _body(text, html, attachments)
        content = "".join(f"{line}\r\n" for line in lines).encode("ascii") + body.as_bytes()
        if len(content) > MAX_MESSAGE_BYTES:
            raise GiveUp(f"the message has {len(content)} bytes; {MAX_MESSAGE_BYTES} are allowed")
        return cls(message_id, origin, tuple(address.addr_spec for address in everyone), hidden, content)

    def sign(self, key: str, selector: str) -> None:
        """Put a DKIM signature for the sender's domain in front; `key` is a private key in PEM.

        Raises:
            GiveUp: the key or the selector cannot be used.
        """
        head = self.content.partition(b"\r\n\r\n")[0]
        names = re.findall(rb"^([!-9;-~]+):", head, re.MULTILINE)
        try:
            header = dkim.sign(
                self.content,
                selector.encode(),
                self.sender.domain.encode(),
                key.encode(),
                canonicalize=(b"relaxed", b"relaxed"),
                # All headers (RFC 8058, 4 wants List-Unsubscribe-Post, too), and once more: then none can be added (RFC 6376, 8.15).
                include_headers=names * 2,
            )
        except dkim.DKIMException as error:
            raise GiveUp(f"MAIL_DKIM_KEY or MAIL_DKIM_SELECTOR cannot be used: {type(error).__name__}") from error
        self.content = header + self.content


def _unsubscribe(target: str | None) -> list[str]:
    if target is None:
        return []
    if not _UNSUBSCRIBE.fullmatch(checked("list_unsubscribe", target, 1000)):
        raise GiveUp(f"list_unsubscribe {target!a} is no https:// or mailto: address; percent-encode what is special")
    header = f"List-Unsubscribe: <{target}>"
    if target.startswith("https:"):
        return [header, "List-Unsubscribe-Post: List-Unsubscribe=One-Click"]  # RFC 8058
    return [header]


def _body(text: str | None, html: str | None, attachments: list[Attachment]) -> EmailMessage:
    if text is None and html is None:
        raise GiveUp("a message needs a text, an html or a template")
    for name, body in (("text", text), ("html", html)):
        if body is not None and re.search("[\0\ud800-\udfff]", body):
            raise GiveUp(f"{name} holds a NUL or a lone surrogate, which no mail can carry; remove it")
    message = EmailMessage(_POLICY)
    message.set_content(plain_text(html or "") if text is None else text)
    inline = [file for file in attachments if file.content_id is not None and html is not None]
    if html is not None:
        message.add_alternative(html, subtype="html")
        _, shown = message.iter_parts()
        for file in inline:
            shown.add_related(file.content, **file.arguments())
    for file in attachments:
        if file not in inline:
            message.add_attachment(file.content, **file.arguments())
    return message
