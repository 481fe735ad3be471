"""Takes from a folded text what is no plain word, and tells the ways in which it may be meant.

"sh1t", "f*ck", "fuuuck", "a$$hole", "f u c k", "f🔥u🔥c🔥k", "|-|0|2E" are chunks; each is read as leet, without its
symbols, with symbols as hidden letters, and as letters drawn with several signs.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from .disguises import canonical

# A chunk is searched in pieces that overlap, so that an endless one costs no more than many short ones.
_MAX_PIECE = 200
_OVERLAP = 40
#: stands at the end of a piece where its chunk goes on; counts as a letter, and is in no word
GOES_ON = "ʘ"
#: stands in a reading for what is no letter
DROPPED = "\0"
#: stands for the second and further signs of a drawn letter
DRAWN_ON = "\x01"

# Neither one plain word in its punctuation nor free of letters. Possessive, so that no chunk is read over and over.
_ODD = re.compile(r"(?<!\S)(?![^\w\s@$+|!<\\}]*+[^\W\d_]++(?:'[^\W\d_]++)?+[^\w\s@$+|*]*+(?!\S))(?![^\sa-z@]*+(?!\S))\S++")
_STRETCHED = re.compile(r"([a-z])\1(?:\1|([a-z])\2)")
# Three or more single letters with anything between, which is spaces here; a "ß" is folded to "ss".
_APART = re.compile(r" (?:ss|\w)(?: {1,4}+(?:ss|\w)(?= )){2,}+")
_LEET_BEFORE = re.compile(r"[@$(!|+]\s{0,3}\Z")

_DRAWN = {
    letter.strip(): sign
    for signs, sign in {
        r"/\/\ |\/| |v| (v)": "m",
        r"\/\/ |/\| vv": "w",
        r"|\| /\/": "n",
        r"|_| (_) [_]": "u",
        r"/-\ /\ ": "a",
        r"|-| }{ |~| #": "h",
        r"() [] {}": "o",
        r"|< |{": "k",
        r"|) [)": "d",
        r"|= ph": "f",
        r"|3 |}": "b",
        r"|> |* |°": "p",
        r"|2 |?": "r",
        r"_|": "j",
        r"|_": "l",
        r"\/": "v",
        r"><": "x",
        r"< [": "c",
    }.items()
    for letter in signs.split()
}
_DRAWING = re.compile("|".join(map(re.escape, sorted(_DRAWN, key=len, reverse=True))))

_DIGITS = {ord(digit): letter for digit, letter in zip("0123456789", canonical("oizeasgtbg"), strict=True)}
_LETTERS = {**{ord(letter): canonical(letter) for letter in string.ascii_lowercase}, **_DIGITS}
_DROPPED = dict.fromkeys(map(ord, string.punctuation + " " + DRAWN_ON), DROPPED)
_LEET = {ord(symbol): letter for symbol, letter in zip("@!|$+(", "aiistc", strict=True)}
_HIDDEN: dict[int, str] = {ord(symbol): "-" if symbol in "-_.,:;/\\'\"()[]{}<>" else "*" for symbol in string.punctuation}
_HIDDEN |= dict.fromkeys(map(ord, "= " + DRAWN_ON), DROPPED)
_TABLES: tuple[dict[int, str], ...] = (
    {**_LETTERS, **_DROPPED, **_LEET},
    {**_LETTERS, **_DROPPED},
    {**_LETTERS, **_HIDDEN},
    {**_LETTERS, **_HIDDEN, **_LEET},
)
Table = dict[int, str]


def chunks(folded: str, padded: str) -> Iterator[tuple[int, str]]:
    """Yield (place, chunk) for all that is no plain word; long chunks in pieces, with `GOES_ON` where they were cut.

    `padded` is the folded text with spaces for all but letters and digits, and a space at either end.
    """
    for match in _ODD.finditer(folded):
        yield from _pieces(folded, *match.span())
    for match in _APART.finditer(padded):
        start, stop = match.start(), match.end() - 1
        if before := _LEET_BEFORE.search(folded, max(0, start - 4), start):  # "$ h i t"
            start = before.start()
        yield from _pieces(folded, start, stop)
    stop = 0
    for match in _STRETCHED.finditer(folded):
        if match.start() >= stop:
            start, stop = match.span()
            while start and folded[start - 1].isalpha():
                start -= 1
            while stop < len(folded) and folded[stop].isalpha():
                stop += 1
            yield from _pieces(folded, start, stop)


def _pieces(folded: str, start: int, stop: int) -> Iterator[tuple[int, str]]:
    if stop - start <= _MAX_PIECE:
        yield start, folded[start:stop]
        return
    for place in range(start, stop, _MAX_PIECE - _OVERLAP):
        piece = folded[place : min(place + _MAX_PIECE, stop)]
        left = GOES_ON if place > start else ""
        yield place - len(left), left + piece + (GOES_ON if place + _MAX_PIECE < stop else "")


def readings(chunk: str) -> Iterator[tuple[str, Table]]:
    """Yield (text, table): the text, as long as the chunk or chunks given, is to be translated by the table."""
    for table in _TABLES:
        yield chunk, table
    drawn = _DRAWING.sub(lambda match: _DRAWN[match[0]] + DRAWN_ON * (len(match[0]) - 1), chunk)
    if drawn != chunk:
        yield drawn, _TABLES[0]
