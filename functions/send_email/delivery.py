"""Hands a message to an SMTP server, over a connection kept for the next one; or writes it to a folder."""

from __future__ import annotations

import contextlib
import os
import smtplib
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from runtime import GiveUp, Retry

from .message import Message

#: Seconds that any one answer of the server may take.
TIMEOUT_S = 20.0
#: Files the spool keeps; the oldest go first.
MAX_SPOOLED = 1000

# The value itself stays out of every message: it holds a password.
_URL_FORM = (
    "SMTP_URL cannot be used; write smtp://user:password@host:587 or smtps://user:password@host:465, in ASCII, "
    "with ?starttls=offered|required|never and &ca=FILE where needed"
)
# One idle connection per server. A sender takes it out with `pop` while it uses it, so two never share one.
_idle: dict[str, smtplib.SMTP] = {}


@dataclass(frozen=True, slots=True)
class _Server:
    """`smtp://user:password@host:587?starttls=offered&ca=/etc/ssl/own.pem`, or `smtps://…` for TLS from the start."""

    tls: bool
    host: str
    port: int
    user: str
    password: str
    #: "offered": used when the server has it, and needed for a password; "required"; "never"
    starttls: str
    #: a file of certificate authorities to trust instead of the system's
    ca: str | None

    @classmethod
    def parse(cls, url: str) -> _Server:
        try:
            parts = urlsplit(url.strip())
            query = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
            port = parts.port or {"smtp": 587, "smtps": 465}[parts.scheme]
            starttls = query.pop("starttls", "offered")
            ca = query.pop("ca", None)
        except (KeyError, ValueError):
            raise GiveUp(_URL_FORM) from None
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        is_ascii = f"{user}{password}".isascii()  # smtplib can log in with nothing else
        if query or not is_ascii or not parts.hostname or starttls not in ("offered", "required", "never"):
            raise GiveUp(_URL_FORM)
        return cls(parts.scheme == "smtps", parts.hostname, port, user, password, starttls, ca)

    def connect(self) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=self.ca)
        if self.tls:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=context)
        else:
            connection = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        try:
            self._secure(connection, context)
            if self.user:
                connection.login(self.user, self.password)
        except BaseException:
            connection.close()
            raise
        return connection

    def _secure(self, connection: smtplib.SMTP, context: ssl.SSLContext) -> None:
        connection.ehlo_or_helo_if_needed()
        if self.tls or self.starttls == "never":
            return
        if connection.has_extn("starttls"):
            connection.starttls(context=context)
            connection.ehlo()
        elif self.user or self.starttls == "required":
            raise GiveUp(f"{self.host} offers no STARTTLS; nothing was sent, and no password in the clear")


def send(message: Message, url: str) -> dict[str, str]:
    """Send the message and return the recipients the server refused, with its words; at least one was accepted.

    Raises:
        GiveUp: refused for good (5xx), or the server's certificate is not trusted.
        Retry: the server cannot be reached, hung up, or refused for now (4xx).
    """
    server = _Server.parse(url)
    place = f"{server.host}:{server.port}"
    kept = connection = _reusable(url)
    try:
        connection = kept or server.connect()
        refused = connection.sendmail(message.sender.addr_spec, message.recipients, message.content)
    except smtplib.SMTPRecipientsRefused as error:
        _end(connection)
        reasons = _reasons(error.recipients)
        words = f"{place} refused every recipient: " + "; ".join(f"{who}: {why}" for who, why in reasons.items())
        raise (Retry if any(code < 500 for code, _ in error.recipients.values()) else GiveUp)(words) from error
    except smtplib.SMTPResponseException as error:
        _end(connection)
        if kept and error.smtp_code == 421:  # it closes this connection (RFC 5321, 3.8), for having been used enough
            return send(message, url)
        words = f"{place} said: {_reason(error.smtp_code, error.smtp_error)}"
        raise (GiveUp if 500 <= error.smtp_code < 600 else Retry)(words) from error
    except ssl.SSLCertVerificationError as error:
        raise GiveUp(f"the certificate of {place} is not trusted: {error.verify_message}") from error
    except smtplib.SMTPNotSupportedError as error:
        _end(connection)
        raise GiveUp(f"{place} cannot take this message: {error}") from error
    except (OSError, smtplib.SMTPException) as error:
        _end(connection)
        raise Retry(f"{place} cannot be reached: {error or type(error).__name__}") from error
    _end(_idle.pop(url, None))
    _idle[url] = connection
    return _reasons(refused)


def spool(message: Message, folder: Path) -> Path:
    """Write the message to the folder as a file that mail programs open, and return its path. A repeat replaces it."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{message.message_id.strip('<>').partition('@')[0]}.eml"
    hidden = f"Bcc: {', '.join(address.addr_spec for address in message.bcc)}\r\n" if message.bcc else ""
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
        file.write(hidden.encode() + message.content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(target)
    for old in sorted(folder.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)[:-MAX_SPOOLED]:
        old.unlink(missing_ok=True)
    return target


def close_idle() -> None:
    """Close the connections that are kept."""
    while _idle:
        _end(_idle.popitem()[1])


def _reusable(url: str) -> smtplib.SMTP | None:
    connection = _idle.pop(url, None)
    if connection is not None:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            if connection.noop()[0] == 250:
                return connection
    _end(connection)
    return None


def _end(connection: smtplib.SMTP | None) -> None:
    if connection is not None:
        connection.close()


def _reasons(refused: dict[str, tuple[int, bytes]]) -> dict[str, str]:
    return {who: _reason(code, words) for who, (code, words) in refused.items()}


def _reason(code: int, words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return f"{code} {''.join(c if c.isprintable() else '�' for c in ' '.join(text.split()))}"[:500]
