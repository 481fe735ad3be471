"""Derives the text part of a message from its HTML, in time that grows with its length only.

The standard library's `html.parser` takes minutes for 200 kB of "<a " (and raises AssertionError for "<![").
"""

from __future__ import annotations

import re
from html import unescape

_BLOCKS = frozenset({"address", "article", "blockquote", "div", "dl", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"})
_BLOCKS |= {"header", "hr", "main", "ol", "p", "pre", "section", "table", "ul"}
_BREAKS = {"br": "\n", "dd": "\n", "dt": "\n", "tr": "\n", "li": "\n- ", "td": " ", "th": " "} | dict.fromkeys(_BLOCKS, "\n\n")

# Nothing here looks further than the next "<", but for what is closed or else runs to the end of the text.
_SKIPPED = re.compile(r"(?is)<!--.*?(?:-->|\Z)|<(head|script|style|template|title)\b.*?(?:</\1\b[^<>]*>?|\Z)|<[!?][^<>]*>?")
_TAG = re.compile(r"""(?i)<(/?)([a-z][a-z0-9]*+)((?:[^<>"']|"[^"<]*"|'[^'<]*')*+)>""")
_ATTRIBUTE = r"""(?i)\s{}\s*+=\s*+(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))"""
_HREF, _ALT = (re.compile(_ATTRIBUTE.format(name)) for name in ("href", "alt"))


def plain_text(html: str) -> str:
    """Return the text a reader of this HTML sees: paragraphs apart, list items dashed, links in brackets."""
    parts: list[str] = []
    link, label_start, read = "", 0, 0
    html = _SKIPPED.sub(" ", html)
    for tag in _TAG.finditer(html):
        parts.append(_words(html[read : tag.start()]))
        read, closing, name = tag.end(), tag[1], tag[2].lower()
        if name == "a":
            label = "".join(parts[label_start:]).strip()
            if closing and link.startswith(("https:", "http:", "mailto:")) and link.removeprefix("mailto:") != label:
                parts.append(f" ({link})")
            link, label_start = _attribute(_HREF, tag[3]), len(parts)
        elif not closing or name in _BLOCKS:
            parts.append(_attribute(_ALT, tag[3]) if name == "img" else _BREAKS.get(name, ""))
    parts.append(_words(html[read:]))
    lines = [" ".join(line.split()) for line in "".join(parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", unescape(text))


def _attribute(pattern: re.Pattern[str], attributes: str) -> str:
    found = pattern.search(attributes)
    return _words(found[found.lastindex or 0]) if found else ""
