"""Callback URLs as callers give them, checked when an invocation is accepted."""

from __future__ import annotations

from urllib.parse import urlsplit

from triggers.http.answers import ProblemError
from triggers.http.callbacks.addresses import AllowList, literal

#: Longest URL that is kept.
MAX_URL_BYTES = 2000


class Callbacks:
    """Reads callback URLs. `secrets`: what signs callbacks; without any there are none."""

    def __init__(self, secrets: tuple[str, ...] = (), allowed: tuple[str, ...] = ()) -> None:
        self.secrets = secrets
        self.allowed = AllowList(allowed)

    def read(self, given: bytes) -> str:
        """Return the URL of an `Oncue-Callback-Url` header.

        The addresses behind its name are looked at when it is called, since they may change until then.

        Raises:
            ProblemError: 400, saying what is wrong with it.
        """
        if not self.secrets:
            raise _refusal("callbacks are signed, and no secret is set; set ONCUE_SECRET_CALLBACKS")
        try:
            url = given.decode("ascii")
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise _refusal("it is no URL") from None
        if len(url) > MAX_URL_BYTES or not url.isprintable() or " " in url:
            raise _refusal(f"it is no URL of up to {MAX_URL_BYTES} characters")
        if parts.scheme != "https" or not host:
            raise _refusal("only https:// is called")
        if "@" in parts.netloc or "#" in url:
            raise _refusal("it must have neither a user name nor a fragment")
        address = literal(host)
        if address is not None and not self.allowed.takes(host, address):
            raise _refusal("its address is not public; the operator can list it in ONCUE_CALLBACK_HOSTS")
        return url


def _refusal(reason: str) -> ProblemError:
    return ProblemError(400, "invalid-callback", f"Oncue-Callback-Url: {reason}")
