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
from .folding import fold, origins
from .judging import Run, is_meant
from .lexicon import Lexicon

#: Finds that are told; what is beyond them is not.
MAX_FINDS = 10_000
# Disguises that are looked at; some are dropped later, since they overlap.
_MAX_DISGUISED = 2 * MAX_FINDS
# Chunks that are read together.
_AT_ONCE = 1000

_LINE_BREAK = re.compile("\n")
# A letter of a reading with its repetitions; "*" and "-" are hidden letters, each one of its own.
_LETTER = re.compile(r"([^*\-\0])(?:\0*\1)*|[*-]")
_REPEATED = re.compile(r"([^\n*-])\1+")
_NO_LETTER = re.compile(r"[\W_]")
_NOT_WORDS = "".join(map(chr, range(128))).translate(str.maketrans("", "", string.ascii_letters + string.digits))
_ASCII_TO_SPACES = str.maketrans(dict.fromkeys(_NOT_WORDS, " "))


class Find(NamedTuple):
    """A listed word at `text[start:end]`."""

    start: int
    end: int
    word: Word


def find(text: str, lexicons: Sequence[Lexicon]) -> tuple[list[Find], bool]:
    """Return what the lexicons list, in order, without overlaps; and whether not all was looked at."""
    folded = fold(text)
    words = folded.translate(_ASCII_TO_SPACES) if folded.isascii() else _NO_LETTER.sub(" ", folded)
    padded = f" {words} "
    placed = list(chunks(folded, padded))
    candidates: list[Find] = []
    truncated = False
    for lexicon in lexicons:
        disguised = list(islice(_disguised(placed, lexicon), _MAX_DISGUISED + 1))
        truncated |= len(disguised) > _MAX_DISGUISED
        candidates += disguised
        candidates += _plain(folded, padded, lexicon)
    candidates.sort(key=lambda found: (found.start, found.word.severity > 0, -found.end))
    finds = list(islice(_settle(text, padded, candidates), MAX_FINDS + 1)) if candidates else []
    return finds[:MAX_FINDS], truncated or len(finds) > MAX_FINDS


def _plain(folded: str, padded: str, lexicon: Lexicon) -> Iterator[Find]:
    for last, shape in lexicon.plain.iter(padded):
        start, end = last - shape.size + shape.before, last - shape.after
        if shape.split and "'" in folded[max(0, start - 1) : end] and (shape.word.severity < 3 or " " in folded[start:end]):
            continue  # "let's hit", "who're"
        yield Find(start, end, shape.word)


def _disguised(placed: list[tuple[int, str]], lexicon: Lexicon) -> Iterator[Find]:
    finds: dict[str, set[Find]] = {}
    for first in range(0, len(placed), _AT_ONCE):
        some = placed[first : first + _AT_ONCE]
        unread = list({chunk for _, chunk in some} - finds.keys())
        finds |= {chunk: set() for chunk in unread}
        for text, table in readings("\n".join(unread)):  # the fold leaves no other line break
            for number, found in _read(text, table, lexicon):
                finds[unread[number]].add(found)
        for place, chunk in some:
            for start, end, word in finds[chunk]:
                yield Find(place + start, place + end, word)


def _read(text: str, table: Table, lexicon: Lexicon) -> Iterator[tuple[int, Find]]:
    """Yield (number of the line, find in that line), each line being a chunk."""
    aligned = text.translate(table)
    reading = _REPEATED.sub(r"\1", aligned.replace(DROPPED, ""))
    breaks: list[int] = []
    known = -1
    for last, disguises in lexicon.disguised.iter(reading):
        if not breaks:
            breaks = [-1, *(match.start() for match in _LINE_BREAK.finditer(reading))]
            lines, originals = aligned.split("\n"), text.split("\n")
        number = bisect_left(breaks, last) - 1
        if number != known:
            known, letters = number, list(_LETTER.finditer(lines[number]))
        end = last - breaks[number]
        runs = [
            Run(*each.span(), len(each[0]) - each[0].count(DROPPED)) for each in letters[end - len(disguises[0].runs) : end]
        ]
        for disguise in disguises:
            if is_meant(originals[number], runs, disguise, table):
                yield number, Find(runs[0].start, runs[-1].stop, disguise.word)
                break


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
    match word.flag:
        case "^":
            return not written.istitle()
        case "~":
            return not text[found.start - 1 : found.start] == "-" == text[found.end : found.end + 1]
        case "=":
            lower = unicodedata.normalize("NFC", written.lower())
            return not lower.isalpha() or all(accent in lower for accent in word.accents)
    return True
