"""Takes from a folded text what is no plain word: "sh1t", "f*ck", "fuuuck", "a$$hole", "f u c k", "f🔥u🔥c🔥k", "|-|0|2E"."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A chunk is searched in pieces that overlap, so that an endless one costs no more than many short ones.
_MAX_PIECE = 200
_OVERLAP = 40
#: stands at the end of a piece where its chunk goes on; counts as a letter, and is in no word
GOES_ON = "ʘ"

# Neither one plain word in its punctuation nor free of letters. Possessive, so that no chunk is read over and over.
_ODD = re.compile(r"(?<!\S)(?![^\w\s@$+|!<\\}(]*+[^\W\d_]++(?:'[^\W\d_]++)?+[^\w\s@$+|*]*+(?!\S))(?![^\sa-z@#]*+(?!\S))\S++")
# A digit or sign that a plain word has not, or one between letters.
_ODD_SIGN = re.compile(r"[^a-z ](?:(?<=[^.,;:?!\"'\-)\]}~])|(?<=[^\W_][^'])(?=[^\w ]{0,8}[^\W_]))")
_BRACKETED = re.compile(r"\([^()]{0,200}\)")
_STRETCHED = re.compile(r"([a-z])\1(?:\1|([a-z])\2)")
# Three or more single letters with anything between, which is spaces here; a "ß" is folded to "ss".
_APART = re.compile(r" (?:ss|\w)(?: {1,8}+(?:ss|\w)(?= )){2,}+")
# A short word beside a chunk that may be its other half; a word has a letter.
_MAX_SPLIT = 8
_WORD_BEFORE = re.compile(r"(?<!\S)[a-z]{1,6} \Z")
_WORD_AFTER = re.compile(r" [a-z]{1,6}(?![^\s!?.,;:])")
_LEET_BEFORE = re.compile(r"[@$(!|+]\s{0,3}\Z")
_LEET_AFTER = re.compile(r"\s{0,3}[@$(!|+](?!\S)")


def chunks(folded: str, padded: str) -> Iterator[tuple[int, str]]:
    """Yield (place, chunk) for all that is no plain word; long chunks in pieces, with `GOES_ON` where they were cut.

    `padded` is the folded text with spaces for all but letters and digits, and a space at either end.
    """
    stop = 0
    for sign in _ODD_SIGN.finditer(folded):
        if sign.start() < stop:
            continue
        start = folded.rfind(" ", 0, sign.start()) + 1
        stop = folded.find(" ", start) % (len(folded) + 1)  # -1 is the end
        if not _ODD.match(folded, start):
            continue
        if _BRACKETED.match(folded, start):
            start += 1  # and not "(unt"
        yield from _pieces(folded, start, stop)
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


def beside(folded: str, start: int, stop: int) -> Iterator[tuple[int, str]]:
    """Yield (place, chunk) of a short chunk with the short word before or after it: "sh 1t", "5h it"."""
    if stop - start < _MAX_SPLIT:
        if before := _WORD_BEFORE.search(folded, max(0, start - _MAX_SPLIT), start):
            yield before.start(), folded[before.start() : stop]
        if after := _WORD_AFTER.match(folded, stop, stop + _MAX_SPLIT):
            yield start, folded[start : after.end()]


def _pieces(folded: str, start: int, stop: int) -> Iterator[tuple[int, str]]:
    if stop - start <= _MAX_PIECE:
        yield start, folded[start:stop]
        return
    for place in range(start, stop, _MAX_PIECE - _OVERLAP):
        piece = folded[place : min(place + _MAX_PIECE, stop)]
        left = GOES_ON if place > start else ""
        yield place - len(left), left + piece + (GOES_ON if place + _MAX_PIECE < stop else "")
