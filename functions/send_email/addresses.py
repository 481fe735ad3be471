"""Checks whatever goes into a header: one address per field, no control characters, no encoded words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from email.header import Header
from email.headerregistry import Address
from email.utils import formataddr

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from runtime import GiveUp

# So are "ann@corp.local", "ann@localhost" and "ann@shop.test".
SPECIAL_USE_DOMAIN_NAMES[:] = ["arpa", "invalid", "onion"]
_NAMED = re.compile(r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<name>[^"<>]*))\s*<(?P<address>[^<>]*)>')


def checked(field: str, value: str, limit: int = 500) -> str:
    """Return a header's text unchanged when it is safe.

    Python 3.11.7 reads encoded words ("=?…?=") back into addresses and new headers (CVE-2024-6923): they are refused.

    Raises:
        GiveUp: it is too long, or holds a control character, a line separator, a lone surrogate or "=?".
    """
    if len(value) > limit:
        raise GiveUp(f"{field} has {len(value)} characters; {limit} are allowed")
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise GiveUp(f"{field} holds the control character {character!a}; remove it")
    if "=?" in value:
        raise GiveUp(f"{field} holds '=?', the start of an encoded word; write the characters themselves")
    return value


def parsed(field: str, value: str) -> Address:
    """Return one address: "ann@example.com" or "Ann <ann@example.com>"; international domains in their ASCII form.

    Raises:
        GiveUp: it is not one well-formed address.
    """
    match = _NAMED.fullmatch(checked(field, value).strip())
    name, plain = (match["quoted"] or match["name"] or "", match["address"]) if match else ("", value.strip())
    try:
        valid = validate_email(
            plain,
            check_deliverability=False,
            allow_smtputf8=False,
            strict=True,  # no more than the 64 characters before the @ that RFC 5321 gives them
            globally_deliverable=False,  # "ann@intranet" is real where it is used
        )
    except EmailNotValidError as error:
        raise GiveUp(f"{field} {value!a} is no e-mail address: {error}") from error
    assert valid.ascii_email is not None  # smtputf8 is not allowed
    return Address(display_name=re.sub(r"\\(.)", r"\1", name).strip(), addr_spec=valid.ascii_email)


def parsed_all(field: str, values: str | Iterable[str]) -> tuple[Address, ...]:
    """Return every address of one field, each once."""
    return unique(parsed(field, value) for value in ([values] if isinstance(values, str) else values))


def unique(addresses: Iterable[Address]) -> tuple[Address, ...]:
    """Return the addresses in order, each mailbox once, however it is capitalised."""
    found: dict[str, Address] = {}
    for address in addresses:
        found.setdefault(address.addr_spec.lower(), address)
    return tuple(found.values())


def encoded(text: str) -> str:
    """Return header text as it travels: ASCII as it is, other text as encoded words (RFC 2047)."""
    return text if text.isascii() else Header(text, "utf-8", maxlinelen=75).encode(linesep="\r\n")


def written(address: Address) -> str:
    """Return an address as it travels, its name quoted or encoded."""
    if address.display_name.isascii():
        return formataddr((address.display_name, address.addr_spec))
    return f"{encoded(address.display_name)} <{address.addr_spec}>"


def chosen_sender(wanted: str | None, senders: str | None) -> Address:
    """Return the sender, if it is one of `senders`: comma-separated addresses, and domains like "@example.com".

    The first address is the sender when none is wanted; without `senders` it is always oncue@localhost.

    Raises:
        GiveUp: the sender is not allowed, or none is wanted and `senders` has domains only.
    """
    if senders is None:
        if wanted is not None:
            raise GiveUp("sender needs MAIL_FROM, which lists who may send")
        return Address(username="oncue", domain="localhost")
    entries = [entry.strip() for entry in senders.split(",") if entry.strip()]
    known = parsed_all("MAIL_FROM", [entry for entry in entries if not entry.startswith("@")])
    if wanted is None:
        if not known:
            raise GiveUp("sender is needed: MAIL_FROM lists domains only")
        return known[0]
    address = parsed("sender", wanted)
    allowed = {entry.lower() for entry in entries} | {each.addr_spec.lower() for each in known}
    if address.addr_spec.lower() not in allowed and f"@{address.domain.lower()}" not in allowed:
        raise GiveUp(f"sender {address.addr_spec} is not allowed; MAIL_FROM lists who may send")
    return address


def check_domains(addresses: Iterable[Address], allowed: str | None) -> None:
    """Refuse recipients outside the comma-separated domains; ".example.com" stands for all below it.

    Raises:
        GiveUp: a recipient's domain is not listed.
    """
    if allowed is None:
        return
    domains = {entry.strip().lower() for entry in allowed.split(",") if entry.strip()}
    for address in addresses:
        domain = address.domain.lower()
        parents = {domain[place:] for place, character in enumerate(domain) if character == "."}
        if not domains & {domain, *parents}:
            raise GiveUp(f"recipient {address.addr_spec} is outside MAIL_ALLOWED_DOMAINS")
