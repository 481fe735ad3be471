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
_ODD = re.compile(r"(?<!\S)(?![^\w\s@$+|!<\\}(]*+[^\W\d_]++(?:'[^\W\d_]++)?+[^\w\s@$+|*]*+(?!\S))(?![^\sa-z@#]*+(?!\S))\S++")
_STRETCHED = re.compile(r"([a-z])\1(?:\1|([a-z])\2)")
# Three or more single letters with anything between, which is spaces here; a "ß" is folded to "ss".
_APART = re.compile(r" (?:ss|\w)(?: {1,6}+(?:ss|\w)(?= )){2,}+")
_LEET_BEFORE = re.compile(r"[@$(!|+]\s{0,3}\Z")
_LEET_AFTER = re.compile(r"\s{0,3}[@$(!|+](?!\S)")

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
_HIDDEN = _DROPPED | dict.fromkeys(map(ord, "-_."), "-") | dict.fromkeys(map(ord, "*#%&@!?$+^~|"), "*")
_BOLDLY = dict.fromkeys(map(ord, "*#%&^"), "*")
_LEET_SIGN = re.compile(r"[@!|$+(]")
_BOLD_AND_APART = re.compile(r"[*#%&^].*[^\w*#%&^]|[^\w*#%&^].*[*#%&^]")
Table = dict[int, str]
_SIGNS_DROPPED: Table = _LETTERS | _DROPPED
_LEET_READ: Table = _SIGNS_DROPPED | _LEET
_SIGNS_HIDE: Table = _LETTERS | _HIDDEN
_LEET_AND_HIDDEN: Table = _SIGNS_HIDE | _LEET
_BOLDLY_HIDDEN: Table = _LEET_READ | _BOLDLY


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
        if after := _LEET_AFTER.match(folded, stop):
            stop = after.end()
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


def readings(chunks: list[str]) -> Iterator[tuple[list[str], list[str], Table]]:
    """Yield (chunks, texts, table): each of the texts, as long as its chunk, is to be translated by the table."""
    yield chunks, chunks, _LEET_READ
    signed = [chunk for chunk in chunks if not chunk.isalnum()]
    leet = [chunk for chunk in signed if _LEET_SIGN.search(chunk)]
    apart = [chunk for chunk in signed if _BOLD_AND_APART.search(chunk)]
    yield leet, leet, _SIGNS_DROPPED
    yield signed, signed, _SIGNS_HIDE
    yield leet, leet, _LEET_AND_HIDDEN
    yield apart, apart, _BOLDLY_HIDDEN
    drawing = [chunk for chunk in chunks if _DRAWING.search(chunk)]
    drawn = [_DRAWING.sub(lambda match: _DRAWN[match[0]] + DRAWN_ON * (len(match[0]) - 1), chunk) for chunk in drawing]
    yield drawing, drawn, _LEET_READ
