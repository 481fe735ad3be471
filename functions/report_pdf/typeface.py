"""Text as glyphs: which font draws a character, how wide it is, where lines break.

FiraGO is embedded and covers most scripts. What it lacks comes from a font of the host, embedded as well; Chinese,
Japanese and Korean fall back to the fonts that PDF readers bring along.
"""

from __future__ import annotations

import io
import itertools
import re
from functools import cached_property, lru_cache
from pathlib import Path

from pymupdf_fonts import fontbuffers
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

from .direction import shaped, visual

#: TrueType fonts that are looked into for characters that FiraGO lacks, where Debian installs them
HOST_FONTS = (
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/opentype/ipaexfont-gothic/ipaexg.ttf",
    "/usr/share/fonts/truetype/nanum/NanumGothic.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
)

_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
_CJK = "\u2e80-\u303f\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
_EAST_ASIAN = re.compile(f"[{_CJK}]|{_HANGUL.pattern}")
_WORDS = re.compile(f"[{_CJK}]| +|[^ {_CJK}]+")


@lru_cache(maxsize=4)
def typefaces(language: str) -> tuple[Typeface, Typeface]:
    """Return the regular and the bold typeface; they stay loaded for the next report."""
    return Typeface("FiraGO", "figo", language), Typeface("FiraGO-Bold", "figbo", language)


class Typeface(dict[str, tuple[str, float, str]]):
    """One weight: character -> (font that draws it, its width in em, the character to draw)."""

    def __init__(self, name: str, source: str, language: str) -> None:
        super().__init__()
        self.name = name
        self._language = language
        self._own = _register(name, io.BytesIO(fontbuffers[source]()))
        #: characters met that no font has; "?" is drawn for them
        self.missing: set[str] = set()

    def __missing__(self, char: str) -> tuple[str, float, str]:
        found = self._find(char)
        if found is None:
            self.missing.add(char)
            return self["?"]
        self[char] = found
        return found

    def _find(self, char: str) -> tuple[str, float, str] | None:
        for font in itertools.chain([self._own], self._host_fonts if ord(char) > 127 else ()):
            if ord(char) in font.face.charToGlyph:
                return font.fontName, font.face.charWidths.get(ord(char), font.face.defaultWidth) / 1000, char
        if _EAST_ASIAN.match(char):
            korean = _HANGUL.match(char) or self._language == "ko"
            name = "HYGothic-Medium" if korean else "HeiseiKakuGo-W5" if self._language == "ja" else "STSong-Light"
            pdfmetrics.registerFont(UnicodeCIDFont(name))
            return name, pdfmetrics.stringWidth(char, name, 1), char
        return None

    @cached_property
    def _host_fonts(self) -> list[TTFont]:
        return [_register(Path(path).stem, path) for path in HOST_FONTS if Path(path).is_file()]

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


def _register(name: str, source: str | io.BytesIO) -> TTFont:
    font = TTFont(name, source)
    pdfmetrics.registerFont(font)
    return font
