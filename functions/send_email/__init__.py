"""POST /v1/functions/send_email: send one message to one or many recipients, or spool it where no server is set."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from runtime import Context, GiveUp, function

from . import delivery, rendering
from .message import Attachment, Message

Addresses = str | Annotated[list[str], Field(max_length=100)]
Attachments = Annotated[list[Attachment], Field(max_length=100)]
_ATTACHMENTS = TypeAdapter(Attachments)


@function(
    retries=5,
    backoff_min="10s",
    timeout="2m",
    max_body="40MB",
    optional_secrets={
        "SMTP_URL": "mail is written to {state}/spool as .eml files",
        "MAIL_FROM": "mail is from oncue@localhost",
        "MAIL_ALLOWED_DOMAINS": "mail may go to any domain",
        "MAIL_DKIM_KEY": "mail is not DKIM-signed",
        "MAIL_DKIM_SELECTOR": "the DKIM selector is oncue",
    },
)
def send_email(
    to: Addresses,
    subject: str,
    text: str | None = None,
    html: str | None = None,
    cc: Addresses = [],  # noqa: B006  # never changed; None would weaken the schema
    bcc: Addresses = [],  # noqa: B006  # as above, and so on
    reply_to: Addresses = [],  # noqa: B006
    sender: str | None = None,
    attachments: Attachments = [],  # noqa: B006
    template: str | None = None,
    values: dict[str, Any] = {},  # noqa: B006
    list_unsubscribe: str | None = None,
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Send a message and return `{message_id, accepted: [address], refused: {address: reason}}`.

    At least one of `text`, `html` and `template` is needed; text is derived from HTML where it is absent. The
    Message-ID follows from the idempotency key, so that the copy a retry may send can be recognised.

    Raises:
        GiveUp: the message cannot be built, or the server refuses it for good; its words are in the error.
        Retry: the server is away, or refuses for now.
    """
    if template is not None:
        text, html = rendering.render(template, values, text, html)
    try:
        files = _ATTACHMENTS.validate_python(attachments)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise GiveUp(f"{'/'.join(map(str, ('attachments', *first['loc'])))}: {first['msg']}") from None
    files = [file.fetched(ctx) for file in files]
    message = Message.build(
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=reply_to,
        sender=sender,
        senders=ctx.secret("MAIL_FROM", None),
        allowed_domains=ctx.secret("MAIL_ALLOWED_DOMAINS", None),
        subject=subject,
        text=text,
        html=html,
        attachments=files,
        list_unsubscribe=list_unsubscribe,
        key=ctx.idempotency_key,
    )
    if key := ctx.secret("MAIL_DKIM_KEY", None):
        message.sign(key, ctx.secret("MAIL_DKIM_SELECTOR", None) or "oncue")
    if url := ctx.secret("SMTP_URL", None):
        refused = delivery.send(message, url)
    else:
        ctx.log.info("no SMTP_URL: written to %s", delivery.spool(message, ctx.state_dir / "spool"))
        refused = {}
    return {
        "message_id": message.message_id,
        "accepted": [address for address in message.recipients if address not in refused],
        "refused": refused,
    }
