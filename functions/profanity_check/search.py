"""Finds the words of a lexicon in a text, plain or disguised. Takes time in proportion to the text's length.

1. Plain text, where nearly everything is: symbols become spaces, and one automaton that knows word edges reads it.
2. Chunks that are no plain word (`chunks`) are read in several ways, each run of a letter as one; every find is checked
   against its word (`judging`). Equal chunks are read once.
3. Finds inside an innocent word or phrase are dropped; of overlapping finds the first and longest stays.
"""

from __future__ import annotations

import re
import string
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from .chunks import DROPPED, Table, chunks, readings
from .disguises import Word
from .folding import fold, origins, reveal
from .judging import Run, is_meant
from .lexicon import Lexicon

#: Finds that are told; what is beyond them is not.
MAX_FINDS = 10_000
# Disguises that are looked at; some are dropped later, since they overlap.
_MAX_DISGUISED = 2 * MAX_FINDS
# What may be a disguise and is judged, before a text that is little else is given up: it has no clean end.
_MAX_JUDGED = 100_000
# Chunks that are read together, and those whose finds are kept for the next texts; none is longer than 202 characters.
_AT_ONCE = 1000
_MAX_KNOWN = 20_000

_LINE_BREAK = re.compile("\n")
# A letter of a reading with its repetitions; "*" and "-" are hidden letters, each one of its own.
_LETTER = re.compile(r"([^*\-\0])(?:\0*\1)*|[*-]")
_REPEATED = re.compile(r"([^\n*-])\1+")
# "FA46", "A55", "SH17", "F4G", "F001A"
_CODE = re.compile(r"(?=.{3,5}$)(?=.*[A-Z])(?:[A-Z\d]*\d\d|[A-Z\d]{3}|[A-Z]?\d{3,}[A-Z]?)")
_NO_LETTER = re.compile(r"[\W_]")
# Of phrases, "j3rk off" and "me c4go en", too.
_DRAWN_LETTER = re.compile(r"[a-z][013457@$!][a-z]")
_NOT_WORDS = "".join(map(chr, range(128))).translate(str.maketrans("", "", string.ascii_letters + string.digits))
_ASCII_TO_SPACES = str.maketrans(dict.fromkeys(_NOT_WORDS, " "))
_DRAWN_TO_LETTERS = _ASCII_TO_SPACES | str.maketrans("013457@$!", "oieastasi")


class Find(NamedTuple):
    """A listed word at `text[start:end]`."""

    start: int
    end: int
    word: Word


def find(text: str, lexicons: Sequence[Lexicon]) -> tuple[list[Find], bool]:
    """Return what the lexicons list, in order, without overlaps; and whether not all was looked at."""
    text = reveal(text)
    folded = fold(text)
    words = folded.translate(_ASCII_TO_SPACES) if folded.isascii() else _NO_LETTER.sub(" ", folded)
    padded = f" {words} "
    placed = list(chunks(folded, padded))
    candidates: list[Find] = []
    truncated = False
    for lexicon in lexicons:
        disguised, unfinished = _disguised(placed, lexicon)
        truncated |= unfinished
        candidates += disguised
        candidates += _plain(folded, padded, lexicon)
        if _DRAWN_LETTER.search(folded):
            drawn = f" {folded.translate(_DRAWN_TO_LETTERS)} "
            candidates += (found for found in _plain(folded, drawn, lexicon) if " " in found.word.letters)
    candidates.sort(key=lambda found: (found.start, found.word.severity > 0, -found.end))
    finds = list(islice(_settle(text, padded, candidates), MAX_FINDS + 1)) if candidates else []
    return finds[:MAX_FINDS], truncated or len(finds) > MAX_FINDS


def _plain(folded: str, padded: str, lexicon: Lexicon) -> Iterator[Find]:
    for last, shape in lexicon.plain.iter(padded):
        start, end = last - shape.size + shape.before, last - shape.after
        if shape.split and "'" in folded[max(0, start - 1) : end] and (shape.word.severity < 3 or " " in folded[start:end]):
            continue  # "let's hit", "who're"
        yield Find(start, end, shape.word)


def _disguised(placed: list[tuple[int, str]], lexicon: Lexicon) -> tuple[list[Find], bool]:
    """Return what is found in the chunks, and whether not all were looked at."""
    known, finds, judged = lexicon.known, [], 0
    for first in range(0, len(placed), _AT_ONCE):
        if len(finds) > _MAX_DISGUISED or judged > _MAX_JUDGED:
            return finds, True
        some = placed[first : first + _AT_ONCE]
        if len(known) > _MAX_KNOWN:
            known.clear()
        unread = list({chunk for _, chunk in some if chunk not in known})
        if unread:
            found: dict[str, set[Find]] = {chunk: set() for chunk in unread}
            judged += sum(_read(chunks, texts, table, lexicon, found) for chunks, texts, table in readings(unread))
            known |= found
        finds += [Find(place + start, place + end, word) for place, chunk in some for start, end, word in known[chunk]]
    return finds, False


def _read(chunks: list[str], texts: list[str], table: Table, lexicon: Lexicon, found: dict[str, set[Find]]) -> int:
    """Add what the lexicon finds in the texts, read by the table, to what was found in their chunks; count what was judged."""
    aligned = "\n".join(texts).translate(table)  # the fold leaves no other line break
    reading = _REPEATED.sub(r"\1", aligned.replace(DROPPED, ""))
    breaks: list[int] = []
    known = -1
    judged = 0
    for judged, (last, disguises) in enumerate(lexicon.disguised.iter(reading), 1):  # noqa: B007  # told at the end
        if not breaks:
            breaks = [-1, *(match.start() for match in _LINE_BREAK.finditer(reading))]
            lines = aligned.split("\n")
        number = bisect_left(breaks, last) - 1
        if number != known:
            known = number
            text, finds = texts[number], found[chunks[number]]
            letters = list(_LETTER.finditer(lines[number]))
        end = last - breaks[number]
        runs = [
            Run(*each.span(), len(each[0]) - each[0].count(DROPPED)) for each in letters[end - len(disguises[0].runs) : end]
        ]
        for disguise in disguises:
            if is_meant(text, runs, disguise, table):
                finds.add(Find(runs[0].start, runs[-1].stop, disguise.word))
                break
    return judged


def _settle(text: str, padded: str, candidates: list[Find]) -> Iterator[Find]:
    origin = origins(text)
    cleared = taken = 0
    for start, end, word in candidates:
        if not word.severity:
            if end > cleared:
                cleared = padded.index(" ", end + 1) - 1 if word.opens_right else end
            continue
        if start < taken or end <= cleared:
            continue
        # Open words reach to the edges of the whole word they are in. `padded` is one place ahead.
        if word.opens_left:
            start = max(taken, padded.rindex(" ", 0, start + 1))
        if word.opens_right:
            end = padded.index(" ", end + 1) - 1
        found = Find(origin[start], origin[end], word)
        if _flag_allows(text, found):
            taken = end
            yield found


def _flag_allows(text: str, found: Find) -> bool:
    word, written = found.word, text[found.start : found.end]
    if "ß" in written and "ß" not in word.accents:
        return False  # "aß" is not "ass"
    if len(written) < 6 and not written.isalpha() and _CODE.fullmatch(written):
        return False
    match word.flag:
        case "^":
            return not written.istitle()
        case "~":
            return not text[found.start - 1 : found.start] == "-" == text[found.end : found.end + 1]
        case "=":
            lower = unicodedata.normalize("NFC", written.lower())
            return not lower.isalpha() or all(accent in lower for accent in word.accents)
    return True
