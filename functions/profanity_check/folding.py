"""Reads text as a person does: lower case, no accents, no invisible characters, look-alikes as what they look like.

"Ｆｕсk" with a Cyrillic "с", "ƒùck" and "f\\u200buck" are all read "fuck". Digits and ASCII symbols stay as they are;
white space becomes " ", any other symbol "~".
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right

# Letter -> what looks like it and is not made of it: Cyrillic, Greek, Armenian, Cherokee, Lisu, Canadian, phonetic and other signs.
_LOOK_ALIKES = {
    "a": "аɑαᎪꓮ∀Λʌᗩ",
    "b": "вьƅβᏴꓐъ฿ᗷ",
    "c": "сϲςᏟꓚ¢ɔↄ⊂ᑕ",
    "d": "ԁժᎠꓓᗪ",
    "e": "еєэεҽҿᎬꓰ€℮∈",
    "f": "ғϝքֆꓝᖴ",
    "g": "ɡԍցᏀꓖᘜ",
    "h": "һнհիᎻꓧђћᕼ",
    "i": "іιɩꭵᎥꓲ",
    "j": "јϳᎫꓙᒍ",
    "k": "кκĸᏦꓗ",
    "l": "ӏᏞꓡ£ᒪ",
    "m": "мᎷꓟᗰ",
    "n": "иηոռꓠπпᑎ",
    "o": "оοօᴑꓳσ〇○◯ө",
    "p": "рρᏢꓑᑭ",
    "q": "ԛզᑫ",
    "r": "гᴦяᎡꓣᖇ",
    "s": "ƨѕտᏚꓢ§ᔕ",
    "t": "тτᎢꓔ†",
    "u": "υսμцꓴ∪ᑌʊ",
    "v": "νѵᏙꓦ∨√ᐯ",
    "w": "ԝѡωшщաᎳꓪᗯ",
    "x": "хχꓫ×᙭",
    "y": "уүγყʏᎩꓬ¥",
    "z": "ᏃꓜʐՀᘔ",
    "ss": "ß",
    "!": "¡",
}
# Capitals that look like another letter than their small form does.
_CAPITALS = {
    "a": "Α",
    "b": "ΒВ",
    "e": "Ε",
    "h": "ΗН",
    "i": "Ι",
    "k": "Κ",
    "m": "ΜМ",
    "n": "Ν",
    "o": "Ο",
    "p": "ΡР",
    "t": "Τ",
    "x": "Χ",
    "y": "ΥУ",
    "z": "Ζ",
}
_READ_AS = {form: letter for letter, signs in _LOOK_ALIKES.items() for sign in signs for form in (sign, sign.lower())}
_READ_AS |= {capital: letter for letter, capitals in _CAPITALS.items() for capital in capitals}
# "LATIN LETTER SMALL CAPITAL F", "REGIONAL INDICATOR SYMBOL LETTER F", "LATIN SMALL LETTER F WITH HOOK", … are an f.
_NAMED_LETTER = re.compile(
    r"(?:LATIN|REGIONAL|SQUARED|NEGATIVE|PARENTHESIZED).*\b(?:LETTER|CAPITAL)(?: \w+)?? ([A-Z])(?: WITH .*)?"
)
_INVISIBLE = ("Mn", "Me", "Cf")
_ASCII_SPACES = str.maketrans("\t\n\v\f\r\x1c\x1d\x1e\x1f", " " * 9)
_REFERENCE = re.compile(r"&#(?:\d{2,7}|[xX][0-9a-fA-F]{2,6});")
# A word with one of these is upside down; whether its letters go backwards is for the lists, which have both.
_TURNED = re.compile("[ɐǝɟƃᵷɥᴉɾʞɯɹʇʍʎ]")
# Tags that do not part a word: "f<b>u</b>ck".
_TAGS = re.compile(
    r"(?<=\w)(?:</?(?:[abisu]|em|strong|span|font|mark|small|big|su[bp]|tt|del|ins|wbr)/?>)+(?=\w)", re.IGNORECASE
)
_SHARP_S_FIRST = re.compile(r"\bß(?=\w{2})")
_WORD = re.compile(r"\w+")
_UPRIGHT = str.maketrans("ɐqɔpǝɟƃɓᵷɥᴉıɾʞɯuodbɹʇnʌʍʎ", "abcdefggghiijkmnopqrtuvwy")
_MAX_REMEMBERED = 60_000


def _read(character: str) -> str:
    if character in _READ_AS:
        return _READ_AS[character]
    if unicodedata.category(character) in _INVISIBLE:
        return ""  # before its case is folded: that of U+0345, a mark, is an iota
    if "⒜" <= character <= "⒵":
        return chr(ord(character) - ord("⒜") + ord("a"))
    return "".join(map(_read_one, unicodedata.normalize("NFKD", character.casefold()).casefold()))


def _read_one(character: str) -> str:
    if character.isascii():
        return " " if character.isspace() else character.lower()
    if character in _READ_AS:
        return _READ_AS[character]
    if match := _NAMED_LETTER.fullmatch(unicodedata.name(character, "")):
        return match[1].lower()
    category = unicodedata.category(character)
    if category in _INVISIBLE:
        return ""
    if category[0] == "L":
        return character
    return " " if character.isspace() or category == "Mc" else "~"


class _Readings(dict[str, str]):
    """Character -> how it is read, worked out once; bounded, since a text may hold every code point there is."""

    def __missing__(self, character: str) -> str:
        reading = _read(character)
        if len(self) < _MAX_REMEMBERED:
            self[character] = reading
        return reading


_READINGS = _Readings()
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def reveal(text: str) -> str:
    """Return the text with HTML references and tags resolved and upside-down words set upright, every place kept."""
    if "&#" in text:
        text = _REFERENCE.sub(lambda match: (html.unescape(match[0])[:1] + "\u200b" * len(match[0]))[: len(match[0])], text)
    if "<" in text:
        text = _TAGS.sub(lambda match: "\u200b" * len(match[0]), text)
    if "ß" in text:  # which begins no word: "ßitch"
        text = _SHARP_S_FIRST.sub("b", text)
    if not text.isascii() and _TURNED.search(text):
        text = _WORD.sub(lambda match: match[0].translate(_UPRIGHT) if _TURNED.search(match[0]) else match[0], text)
    return text


def fold(text: str) -> str:
    """Return the text as it is read. ASCII text keeps its length; use `Origins` for the places in any other."""
    if not text.isascii():
        text = _NOT_ASCII.sub(lambda match: _READINGS[match[0]], text)
    return text.lower().translate(_ASCII_SPACES)


class Origins:
    """For every place in a folded text and its end, the place in the text that it came from."""

    def __init__(self, text: str) -> None:
        # Where folded text and text go on side by side, after a character that is not read as one.
        self._folded, self._text = [0], [0]
        shift = 0
        for match in () if text.isascii() else _NOT_ASCII.finditer(text):
            size = len(_READINGS[match[0]])
            if size != 1:
                shift += size - 1
                self._folded.append(match.end() + shift)
                self._text.append(match.end())

    def __getitem__(self, place: int) -> int:
        after = bisect_right(self._folded, place)
        origin = self._text[after - 1] + place - self._folded[after - 1]
        return origin if after == len(self._text) else min(origin, self._text[after] - 1)
