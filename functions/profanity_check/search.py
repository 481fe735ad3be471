"""Finds the words of a lexicon in a text, plain or disguised. Takes time in proportion to the text's length.

1. Plain text, where nearly everything is: symbols become spaces, and one automaton that knows word edges reads it.
2. Chunks that are no plain word are read in several ways, each run of a letter as one; every find is checked against
   its word. Equal chunks are read once.
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

from .chunks import Table, chunks, readings
from .disguises import Disguise, Word
from .folding import fold, origins
from .lexicon import Lexicon

#: Finds that are told; what is beyond is not looked at.
MAX_FINDS = 10_000
# Places looked at for one lexicon and way of reading: some of them are dropped later.
_MAX_CANDIDATES = 2 * MAX_FINDS

_LINE_BREAK = re.compile("\n")
_REPEATED = re.compile(r"([^\n*-])\1+")
_NO_LETTER = re.compile(r"[\W_]")
_NOT_WORDS = "".join(map(chr, range(128))).translate(str.maketrans("", "", string.ascii_letters + string.digits))
_ASCII_TO_SPACES = str.maketrans(dict.fromkeys(_NOT_WORDS, " "))


class Find(NamedTuple):
    """A listed word at `text[start:end]`."""

    start: int
    end: int
    word: Word


class _Run(NamedTuple):
    start: int
    stop: int
    count: int


def find(text: str, lexicons: Sequence[Lexicon]) -> list[Find]:
    """Return what the lexicons list, in order, without overlaps; at most one more than `MAX_FINDS`."""
    folded = fold(text)
    words = folded.translate(_ASCII_TO_SPACES) if folded.isascii() else _NO_LETTER.sub(" ", folded)
    padded = f" {words} "
    places: dict[str, list[int]] = {}
    for place, chunk in chunks(folded, padded):
        places.setdefault(chunk, []).append(place)
    candidates = []
    for lexicon in lexicons:
        candidates += islice(_plain(folded, padded, lexicon), _MAX_CANDIDATES)
        if places:
            candidates += _placed(_disguised(list(places), lexicon), places)
    if not candidates:
        return []
    candidates.sort(key=lambda found: (found.start, found.word.severity > 0, -found.end))
    return list(islice(_settle(text, padded, candidates), MAX_FINDS + 1))


def _plain(folded: str, padded: str, lexicon: Lexicon) -> Iterator[Find]:
    for last, shape in lexicon.plain.iter(padded):
        start, end = last - shape.size + shape.before, last - shape.after
        if shape.split and "'" in folded[max(0, start - 1) : end] and (shape.word.severity < 3 or " " in folded[start:end]):
            continue  # "let's hit", "who're"
        yield Find(start, end, shape.word)


def _placed(finds: Iterator[tuple[str, Find]], places: dict[str, list[int]]) -> Iterator[Find]:
    """Put what was found in a chunk at all places of that chunk."""
    for chunk, (start, end, word) in finds:
        for place in places[chunk][:_MAX_CANDIDATES]:
            yield Find(place + start, place + end, word)


def _disguised(chunks: list[str], lexicon: Lexicon) -> Iterator[tuple[str, Find]]:
    joined = "\n".join(chunks)  # the fold leaves no other line break
    for text, table in readings(joined):
        yield from islice(_read(chunks, text, table, lexicon), _MAX_CANDIDATES)


def _read(chunks: list[str], text: str, table: Table, lexicon: Lexicon) -> Iterator[tuple[str, Find]]:
    reading = _REPEATED.sub(r"\1", text.translate(table))
    breaks: list[int] = []
    starts: list[int] = []
    known = -1
    for last, disguises in lexicon.disguised.iter(reading):
        if not breaks:
            breaks = [-1, *(match.start() for match in _LINE_BREAK.finditer(reading))]
            starts = [0, *(match.end() for match in _LINE_BREAK.finditer(text))]
        number = bisect_left(breaks, last) - 1
        chunk = chunks[number]
        if number != known:
            known, runs = number, _runs(text[starts[number] : starts[number] + len(chunk)], table)
        end = last - breaks[number]
        found = runs[end - len(disguises[0].runs) : end]
        for disguise in disguises:
            if _is_meant(chunk, found, disguise, table):
                yield chunk, Find(found[0].start, found[-1].stop, disguise.word)
                break


def _runs(chunk: str, table: Table) -> list[_Run]:
    runs: list[_Run] = []
    previous, start, stop, count = "", 0, 0, 0
    for place, character in enumerate(chunk):
        letter = table.get(ord(character), character)
        if not letter:
            continue
        if letter == previous and letter not in "*-":
            stop, count = place + 1, count + 1
        else:
            if count:
                runs.append(_Run(start, stop, count))
            previous, start, stop, count = letter, place, place + 1, 1
    runs.append(_Run(start, stop, count))
    return runs


def _is_meant(chunk: str, found: list[_Run], disguise: Disguise, table: Table) -> bool:
    """Tell whether a reading of a chunk is worth believing."""
    size = 0
    for run, least in zip(found, disguise.runs, strict=True):
        if run.count < least:
            return False  # "as" is not "ass"
        size += run.count
    word, begin, end = disguise.word, found[0].start, found[-1].stop
    written = chunk[begin:end]
    symbols = [sign for sign in written if not sign.isalnum()]
    hidden = [sign for sign in symbols if table.get(ord(sign)) in ("*", "-")]
    if hidden and (" " in written or (len(hidden) > 1 and any(table.get(ord(sign)) not in (*"*-", None) for sign in symbols))):
        return False  # code
    digits = sum(map(str.isdigit, written))
    if 5 * digits > 3 * size or (size == 3 and written[-1].isdigit()):
        return False  # "A55" is a road, "AS5" a flight
    left, right = _is_edge(chunk, begin - 1, -1), _is_edge(chunk, end, 1)
    if size == end - begin:
        return (word.opens_left or left) and (word.opens_right or right)
    separators = set(symbols).difference(")]}")
    if len(separators) > 1 and not separators.isdisjoint("([{<=;?&"):
        return False  # code: "f(u, c, k)"
    # Letters pulled apart: the word must fill the chunk, or end where the way of pulling apart ends.
    if size == 3 and (digits or len(separators) > 1):
        return False
    article = begin == 2 and chunk[0] in "ai" and size > 3  # "a d i c k"
    spelt = word.opens_left and end - begin >= 2 * size - 1  # a stem, letter by letter: "w t f f u c k"
    left = begin == 0 or article or spelt or (left and chunk[begin - 1] not in separators)
    right = end == len(chunk) or (right and chunk[end] not in separators)
    return left and (right or word.opens_right)


def _is_edge(folded: str, place: int, step: int) -> bool:
    """Tell whether a word ends before `place`; digits may follow it ("dick123"), a few."""
    for _ in range(9):
        if not 0 <= place < len(folded) or not folded[place].isalnum():
            return True
        if not folded[place].isdigit():
            return False
        place += step
    return False


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
