"""Text as glyphs: which font draws a character, how wide it is, where lines break.

FiraGO covers most scripts; signs come from DejaVu Sans, Chinese, Japanese and Korean from Droid Sans Fallback. Of all, a
report embeds the glyphs that it uses; no font of the host is looked at, so equal input makes equal bytes everywhere.
"""

from __future__ import annotations

import io
import itertools
import re
from functools import cache
from pathlib import Path

from pymupdf_fonts import fontbuffers
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.pdfdoc import PDFDocument
from reportlab.pdfbase.ttfonts import TTFont

from .direction import shaped, visual

#: what draws the characters that FiraGO lacks, in either weight; see fonts/LICENSE.md
FALLBACKS = ("DejaVuSans", "DroidSansFallback")

_CJK = "\u2e80-\u303f\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
#: ideographic brackets, which do not end a line, and punctuation and small kana, which do not start one (JIS X 4051)
_OPENING, _TRAILING = "「『（［｛〈《【〔", "、。，．・：；？！％」』）］｝〉》】〕々ゝー～ぁぃぅぇぉっゃゅょァィゥェォッャュョ"
_WORDS = re.compile(f"[{_OPENING}]{{0,3}}[{_CJK}][{_TRAILING}]{{0,3}}| +|[^ {_CJK}]+")
_ASTRAL = re.compile(r"(?<=<)([0-9A-F]{5,6})(?=>)")


@cache
def typefaces() -> tuple[Typeface, Typeface]:
    """Return the regular and the bold typeface; they stay loaded for the next report."""
    return Typeface("FiraGO", "figo"), Typeface("FiraGO-Bold", "figbo")


class Typeface(dict[str, tuple[str, float, str]]):
    """One weight: character -> (font that draws it, its width in em, the character to draw)."""

    def __init__(self, name: str, source: str) -> None:
        super().__init__()
        self.name = name
        self._absent: set[str] = set()
        self._own = _register(name, io.BytesIO(fontbuffers[source]()))
        #: of the report at hand: characters that no font has; "?" is drawn for them
        self.missing: set[str] = set()

    def __missing__(self, char: str) -> tuple[str, float, str]:
        found = None if char in self._absent else self._find(char)
        if found is None:
            self._absent.add(char)
            self.missing.add(char)
            return self["?"]
        self[char] = found
        return found

    def _find(self, char: str) -> tuple[str, float, str] | None:
        for font in itertools.chain([self._own], map(_fallback, FALLBACKS if ord(char) > 127 else ())):
            if ord(char) in font.face.charToGlyph:
                return font.fontName, font.face.charWidths.get(ord(char), font.face.defaultWidth) / 1000, char
        return None

    def width(self, text: str, size: float) -> float:
        """Measure a line, in points."""
        return size * sum(self[char][1] for char in text)

    def runs(self, text: str) -> list[tuple[str, str]]:
        """Cut a line into pieces of one font each, in the order in which they are drawn."""
        if text.isascii():
            return [(self.name, text)]
        glyphs = [self[char] for char in visual(text)]
        return [(font, "".join(g[2] for g in group)) for font, group in itertools.groupby(glyphs, lambda g: g[0])]

    def wrap(self, text: str, width: float, size: float) -> list[str]:
        """Break a text into lines of at most `width` points: at spaces, between ideographs, else within words."""
        text = shaped(text)
        if "\n" not in text and self.width(text, size) <= width:
            return [text]
        lines = []
        for paragraph in text.split("\n"):
            line, used = "", 0.0
            for word in _WORDS.findall(paragraph):
                advance = self.width(word, size)
                if used + advance > width and not word.isspace():
                    if line.strip():
                        lines.append(line.rstrip())
                        line, used = "", 0.0
                    *full, word = self.pieces(word, width, size) if advance > width else [word]
                    lines += full
                    advance = self.width(word, size)
                line, used = line + word, used + advance
            lines.append(line.rstrip())
        return lines

    def pieces(self, word: str, width: float, size: float) -> list[str]:
        """Break a text anywhere, into as few pieces of at most `width` points as will do."""
        pieces, start, used = [], 0, 0.0
        for index, char in enumerate(word):
            advance = size * self[char][1]
            if used + advance > width and index > start:
                pieces.append(word[start:index])
                start, used = index, 0.0
            used += advance
        return [*pieces, word[start:]]


@cache
def _fallback(name: str) -> TTFont:
    return _register(name, str(Path(__file__).with_name("fonts") / f"{name}.ttf"))


class _Font(TTFont):
    """A font whose characters beyond U+FFFF can be copied: reportlab writes their number, where UTF-16 belongs."""

    def addObjects(self, doc: PDFDocument) -> None:  # noqa: N802  # reportlab's name
        super().addObjects(doc)
        for name, found in doc.idToObject.items():
            if str(name).startswith("toUnicodeCMap:"):
                found.content = _ASTRAL.sub(lambda code: chr(int(code[1], 16)).encode("utf-16-be").hex(), found.content)


def _register(name: str, source: str | io.BytesIO) -> TTFont:
    font = _Font(name, source)
    pdfmetrics.registerFont(font)
    return font
