"""Texts that try to be more than text: in every field, from line ends and encoded words to whatever hypothesis finds."""

from __future__ import annotations

import email
import email.policy
import time
from collections.abc import Callable
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import Context, GiveUp
from runtime.testing import load

send_email = load(Path(__file__).parents[1]).send_email

MAIL: dict[str, Any] = {"to": ["ann@example.com"], "subject": "Hello", "text": "Hi"}
SENDERS = {"MAIL_FROM": "a@example.com, @example.com"}

NAUGHTY = [
    "a\r\nBcc: eve@example.com\r\n",
    "a\nBcc: eve@example.com",
    "a\rb",
    "a\x00b",
    "a\x0bb",
    "a\x1cb",
    "a\x7fb",
    "a\u2028b",
    "a\u2029b",
    "a\x85b",
    "\ud800",
    "=?utf-8?q?=0D=0ABcc=3A?=",
    "=?utf-8?b?DQpCY2M6IGV2ZUBleGFtcGxlLmNvbQ==?=",
    "x" * 5000,
]
# Each field is as it should be, but for the text: what is refused is the text.
FIELDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "to": lambda bad: {"to": [f"ann{bad}@example.com"]},
    "to_name": lambda bad: {"to": f"{bad} <ann@example.com>"},
    "to_quoted_name": lambda bad: {"to": f'"{bad}" <ann@example.com>'},
    "cc": lambda bad: {"cc": f"{bad} <ann@example.com>"},
    "bcc": lambda bad: {"bcc": [f"{bad} <ann@example.com>"]},
    "reply_to": lambda bad: {"reply_to": f"{bad} <ann@example.com>"},
    "sender": lambda bad: {"sender": f"{bad} <a@example.com>"},
    "sender_address": lambda bad: {"sender": f"a@example.com{bad}"},
    "subject": lambda bad: {"subject": bad},
    "list_unsubscribe": lambda bad: {"list_unsubscribe": f"https://example.com/{bad}"},
    "filename": lambda bad: {"attachments": [{"filename": f"{bad}.pdf", "content": ""}]},
    "media_type": lambda bad: {"attachments": [{"filename": "a", "content": "", "media_type": f"text/{bad}"}]},
    "content_id": lambda bad: {"html": "x", "attachments": [{"filename": "a", "content": "", "content_id": bad}]},
}
REASONS = r"control character|encoded word|characters; \d+ are allowed|cannot be attached|is not letters|no https"


@pytest.mark.parametrize("bad", NAUGHTY, ids=lambda bad: ascii(bad[:30]))
@pytest.mark.parametrize("field", FIELDS)
def test_header_injection(field: str, bad: str, tmp_path: Path) -> None:
    """No field takes control characters, encoded words or endless text; it is named, and nothing is written."""
    with pytest.raises(GiveUp, match=REASONS) as caught:
        send_email(**{**MAIL, **FIELDS[field](bad)}, ctx=Context(state_dir=tmp_path, secrets=SENDERS))
    assert field.partition("_")[0] in str(caught.value) or field.rpartition("_")[2] in str(caught.value)
    assert str(caught.value).encode()  # it can be stored
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "ann",
        "ann@",
        "@example.com",
        "ann@@example.com",
        "ann@exa mple.com",
        "ann@example..com",
        "ann@-example.com",
        "ann@[127.0.0.1]",
        "ann(comment)@example.com",
        "ann@example.com (Ann)",
        '"ann smith"@example.com',
        '"ann@evil.example"@example.com',
        "team: ann@example.com, bob@example.com;",
        "undisclosed-recipients:;",
        "<ann@example.com>, <bob@example.com>",
        "ann@example.com, Bob <bob@example.com",
        "Ann <ann@example.com> bob@example.com",
        "Ann <<ann@example.com>>",
        f"{'a' * 65}@example.com",
        f"ann@{'a' * 64}.com",
        f"ann@{'.'.join(['abcdefgh'] * 30)}.com",
        "änn@example.com",
        "ann@example.com\u200b",
    ],
)
def test_address_that_is_none(address: str) -> None:
    """Groups, comments, quoted local parts, literals and lengths beyond RFC 5321 are refused, in a bounded sentence."""
    with pytest.raises(GiveUp, match="is no e-mail address") as caught:
        send_email(**{**MAIL, "to": address}, ctx=Context())
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ('"" <ann@example.com>', "ann@example.com"),
        ("ann@corp.local", "ann@corp.local"),
        ("ann@localhost", "ann@localhost"),
        ("Ann <ann@bücher.example>", "Ann <ann@xn--bcher-kva.example>"),
        ("Smith, Ann <ann@example.com>", '"Smith, Ann" <ann@example.com>'),
        ("bob@evil.example, Ann <ann@example.com>", '"bob@evil.example, Ann" <ann@example.com>'),
        (r'"a\"b\\c" <ann@example.com>', r'"a\"b\\c" <ann@example.com>'),
        ("آن <ann@example.com>", "آن <ann@example.com>"),
    ],
)
def test_name_that_looks_like_more(given: str, written: str, tmp_path: Path) -> None:
    """Commas and at signs in a name stay in the name: there is one recipient, and it is the one in brackets."""
    result = send_email(**{**MAIL, "to": given}, ctx=Context(state_dir=tmp_path))
    (file,) = (tmp_path / "spool").iterdir()
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert str(message["To"]) == written
    assert result["accepted"] == [message["To"].addresses[0].addr_spec]


@pytest.mark.parametrize("bad", ["a\0b", "\udfff"], ids=ascii)
@pytest.mark.parametrize("field", ["text", "html"])
def test_body_that_no_mail_can_carry(field: str, bad: str) -> None:
    """A NUL and a lone surrogate in a body fail for good."""
    with pytest.raises(GiveUp, match=f"{field} holds"):
        send_email(**{**MAIL, field: bad}, ctx=Context())


text = st.text(
    st.sampled_from("aé漢🍆\r\n\t\0\x0b\x1c\x85\u2028\u202e\u200b\ud800=?utf8qb_<>()[]\"'\\,;:@./ "), max_size=40
) | st.text(max_size=200)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(sorted(FIELDS)), value=text)
def test_any_text_in_any_field(field: str, value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A message is refused, or has each header once and its one recipient: no text becomes another header."""
    folder = tmp_path_factory.mktemp("mail")
    try:
        result = send_email(**{**MAIL, **FIELDS[field](value)}, ctx=Context(state_dir=folder, secrets=SENDERS))
    except GiveUp:
        return
    content = next((folder / "spool").iterdir()).read_bytes().replace(b"Bcc: ann@example.com\r\n", b"")
    message = email.message_from_bytes(content)  # the plain policy: it reads no encoded words
    names = [name.lower() for name in message.keys()]  # noqa: SIM118  # a message yields its headers, not their names
    known = {"message-id", "date", "from", "to", "cc", "reply-to", "subject", "mime-version", "content-type"}
    known |= {"content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post"}
    assert set(names) <= known
    assert len(set(names)) == len(names)
    assert not message.defects
    assert max(map(len, content.split(b"\r\n"))) <= 998  # RFC 5322, 2.1.1
    assert b"\n" not in content.replace(b"\r\n", b"")
    if not field.startswith("to"):
        assert result["accepted"] == ["ann@example.com"]
    if field == "subject":
        assert str(make_header(decode_header(message["Subject"]))) == value.strip()


@pytest.mark.parametrize(
    "piece", ["<!--", "<![", "<a ", "<a b='", '<img alt="', "<a href=https:x>", "<style>", "&#", "</", "<" + "a" * 200_000]
)
def test_html_made_to_be_slow(piece: str) -> None:
    """Text is derived in a time that grows with the length only: half a megabyte of what is never closed."""
    start = time.process_time()
    html = piece * (500_000 // len(piece)) + "</a>" * 50_000
    send_email("ann@example.com", "Hello", html=html, ctx=Context())
    assert time.process_time() - start < 10  # html.parser takes minutes


def test_text_of_broken_html(tmp_path: Path) -> None:
    """Unclosed, misplaced and hidden parts, entities and quoted brackets come out as a reader sees them."""
    html = """<TITLE>no</TITLE><h1>A &amp; B</h1><p>one<br>two <b>bold<p>3 < 4 &lt;i&gt;<!-- no --><ul><li>x<li>y</ul>
    <a title="a > b" HREF='https://example.com/?a=1&amp;b=2'>here</a> <a href="javascript:no">there</a>
    <img alt="Logo" src=x><script>if (a < b) "</p>"</script><table><tr><td>1<td>2</table></div><style>no"""
    send_email("ann@example.com", "Hello", html=html, ctx=Context(state_dir=tmp_path))
    (file,) = (tmp_path / "spool").iterdir()
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    expected = "A & B\n\none\ntwo bold\n\n3 < 4 <i>\n\n- x\n- y\n\nhere (https://example.com/?a=1&b=2) there Logo\n\n1 2\n"
    assert message.get_body(("plain",)).get_content().replace("\r\n", "\n") == expected
