"""Reads text as a person does: lower case, no accents, no invisible characters, look-alikes as what they look like.

"Ｆｕсk" with a Cyrillic "с", "ƒùck" and "f\\u200buck" are all read "fuck". Digits and ASCII symbols stay as they are;
white space becomes " ", any other symbol "~".
"""

from __future__ import annotations

import html
import re
import unicodedata

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
_READ_AS = {form: letter for letter, signs in _LOOK_ALIKES.items() for sign in signs for form in (sign, sign.lower())}
# "LATIN LETTER SMALL CAPITAL F", "REGIONAL INDICATOR SYMBOL LETTER F", "LATIN SMALL LETTER F WITH HOOK", … are an f.
_NAMED_LETTER = re.compile(
    r"(?:LATIN|REGIONAL|SQUARED|NEGATIVE|PARENTHESIZED).*\b(?:LETTER|CAPITAL)(?: \w+)?? ([A-Z])(?: WITH .*)?"
)
_INVISIBLE = ("Mn", "Me", "Cf")
_ASCII_SPACES = str.maketrans("\t\n\v\f\r\x1c\x1d\x1e\x1f", " " * 9)
_REFERENCE = re.compile(r"&#(?:\d{2,7}|[xX][0-9a-fA-F]{2,6});")
# A word with one of these is upside down; whether its letters go backwards is for the lists, which have both.
_TURNED = re.compile("[ɐǝɟƃᵷɥᴉɾʞɯɹʇʍʎ]")
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
    return "".join(map(_read_one, unicodedata.normalize("NFKD", character.casefold())))


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


def reveal(text: str) -> str:
    """Return the text with HTML character references resolved and upside-down words set upright, every place kept."""
    if "&#" in text:
        text = _REFERENCE.sub(lambda match: (html.unescape(match[0])[:1] + "\u200b" * len(match[0]))[: len(match[0])], text)
    if not text.isascii() and _TURNED.search(text):
        text = _WORD.sub(lambda match: match[0].translate(_UPRIGHT) if _TURNED.search(match[0]) else match[0], text)
    return text


def fold(text: str) -> str:
    """Return the text as it is read. ASCII text keeps its length; use `origins` for the places in any other."""
    return text.lower().translate(_ASCII_SPACES) if text.isascii() else "".join([_READINGS[character] for character in text])


def origins(text: str) -> range | list[int]:
    """Return, for every place in the folded text and its end, the place in `text` that it came from."""
    if text.isascii():
        return range(len(text) + 1)
    return [place for place, character in enumerate(text) for _ in _READINGS[character]] + [len(text)]
