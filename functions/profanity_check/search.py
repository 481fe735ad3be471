"""Finds the words of a lexicon in a text, plain or disguised. Takes time in proportion to the text's length.

1. Plain text, where nearly everything is: symbols become spaces, and one automaton that knows word edges reads it.
2. Chunks that are no plain word ("sh1t", "f*ck", "fuuuck", "f u c k", "a$$hole") are read as leet, without their
   symbols, and with symbols as hidden letters, each run of a letter as one; every find is checked against its word.
3. Finds inside an innocent word or phrase are dropped; of overlapping finds the first and longest stays.
"""

from __future__ import annotations

import re
import string
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .folding import fold, origins
from .lexicon import Disguise, Lexicon, Word

_LINE_BREAK = re.compile("\n")
_REPEATED = re.compile(r"([^\n*-])\1+")
_NO_LETTER = re.compile(r"[\W_]")
# Neither one plain word in its punctuation nor free of letters. Possessive, so that no chunk is read over and over.
_ODD_CHUNK = re.compile(r"(?<!\S)(?![^\w\s@$+|!]*+[^\W\d_]++(?:'[^\W\d_]++)?+[^\w\s@$+|*]*+(?!\S))(?![^\sa-z]*+(?!\S))\S++")
_STRETCHED = re.compile(r"([^\W\d_])\1(?:\1|([^\W\d_])\2)")
# Single letters, in some punctuation; a "ß" is folded to "ss".
_SPACED_OUT = re.compile(r"(?<!\S)[^\w\s]{0,2}\S[^\w\s]{0,2}(?: {1,3}[^\w\s]{0,2}(?:ss|\S)[^\w\s]{0,2}(?!\S)){2,}")

_NOT_LETTERS = "".join(map(chr, range(128))).translate(str.maketrans("", "", string.ascii_letters))
_NOT_WORDS = "".join(map(chr, range(128))).translate(str.maketrans("", "", string.ascii_letters + string.digits))
_ASCII_TO_SPACES = str.maketrans(dict.fromkeys(_NOT_WORDS, " "))
_DIGITS = {ord(digit): letter for digit, letter in zip("0123456789", "oizeasgtbg", strict=True)}
_DROPPED = dict.fromkeys(map(ord, _NOT_LETTERS.replace("\n", "")))
_HIDDEN = {ord(symbol): "-" if symbol in "-_.,:;/\\'\"()[]{}<>=" else "*" for symbol in string.punctuation}
# How an odd chunk may be meant; the fold left no symbols but ASCII ones.
_READINGS = (
    {**_DROPPED, **_DIGITS, **{ord(symbol): letter for symbol, letter in zip("@!|$+(", "aiistc", strict=True)}},
    {**_DROPPED, **_DIGITS},
    {**_DROPPED, **_DIGITS, **_HIDDEN},
)


@dataclass(frozen=True, slots=True)
class Find:
    """A listed word at `text[start:end]`."""

    start: int
    end: int
    word: Word


@dataclass(slots=True)
class _Run:
    start: int
    stop: int
    count: int


def find(text: str, lexicons: Sequence[Lexicon]) -> list[Find]:
    """Return what the lexicons list, in order, without overlaps."""
    folded = fold(text)
    words = folded.translate(_ASCII_TO_SPACES) if folded.isascii() else _NO_LETTER.sub(" ", folded)
    padded = f" {words} "
    chunks = _odd_chunks(folded)
    candidates = [
        candidate
        for lexicon in lexicons
        for source in (_plain(folded, padded, lexicon), _disguised(folded, chunks, lexicon))
        for candidate in source
    ]
    candidates.sort(key=lambda found: (found.start, found.word.severity > 0, -found.end))
    return list(_settle(text, padded, candidates)) if candidates else []


def _plain(folded: str, padded: str, lexicon: Lexicon) -> Iterator[Find]:
    for last, shape in lexicon.plain.iter(padded):
        start, end = last - shape.size + shape.before, last - shape.after
        if not (shape.split and "'" in folded[max(0, start - 1) : end]):  # "let's hit", "who're"
            yield Find(start, end, shape.word)


def _odd_chunks(folded: str) -> list[tuple[int, int]]:
    chunks = [match.span() for match in _ODD_CHUNK.finditer(folded)]
    chunks += [match.span() for match in _SPACED_OUT.finditer(folded)]
    end = 0
    for match in _STRETCHED.finditer(folded):
        if match.start() >= end:
            start, end = match.start(), match.end()
            while start and folded[start - 1].isalpha():
                start -= 1
            while end < len(folded) and folded[end].isalpha():
                end += 1
            chunks.append((start, end))
    return chunks


def _disguised(folded: str, chunks: list[tuple[int, int]], lexicon: Lexicon) -> Iterator[Find]:
    joined = "\n".join([folded[start:stop] for start, stop in chunks])  # the fold leaves no other line break
    for table in _READINGS:
        reading = _REPEATED.sub(r"\1", joined.translate(table))
        breaks: list[int] = []
        runs: dict[int, list[_Run]] = {}
        for last, disguises in lexicon.disguised.iter(reading):
            breaks = breaks or [-1, *(match.start() for match in _LINE_BREAK.finditer(reading))]
            number = bisect_left(breaks, last) - 1
            start, stop = chunks[number]
            if number not in runs:
                runs[number] = _runs(folded[start:stop], start, table)
            end = last - breaks[number]
            found = runs[number][end - len(disguises[0].runs) : end]
            for disguise in disguises:
                if _is_meant(folded, start, stop, found, disguise):
                    yield Find(found[0].start, found[-1].stop, disguise.word)


def _runs(chunk: str, start: int, table: dict[int, str | None]) -> list[_Run]:
    runs: list[_Run] = []
    previous = ""
    for place, character in enumerate(chunk, start):
        letter = table.get(ord(character), character)
        if letter and letter == previous and letter not in "*-":
            runs[-1].stop = place + 1
            runs[-1].count += 1
        elif letter:
            runs.append(_Run(place, place + 1, 1))
            previous = letter
    return runs


def _is_meant(folded: str, start: int, stop: int, found: list[_Run], disguise: Disguise) -> bool:
    """Tell whether a reading of folded[start:stop] is worth believing."""
    if any(run.count < least for run, least in zip(found, disguise.runs, strict=True)):
        return False  # "as" is not "ass"
    word, begin, end = disguise.word, found[0].start, found[-1].stop
    written = folded[begin:end]
    size = sum(run.count for run in found)
    if 5 * sum(map(str.isdigit, written)) > 3 * size or (size == 3 and written[-1].isdigit()):
        return False  # "A55" is a road, "AS5" a flight
    left, right = _is_edge(folded, begin - 1, -1), _is_edge(folded, end, 1)
    if size == end - begin:
        return (word.opens_left or left) and (word.opens_right or right)
    # Letters pulled apart: the word must fill the chunk, or end where the way of pulling apart ends.
    separators = {character for character in written if not character.isalnum()}
    article = begin - start == 2 and folded[start] in "ai" and size > 3  # "a d i c k"
    spelt = word.opens_left and end - begin >= 2 * size - 1  # a stem, letter by letter: "w t f f u c k"
    left = begin == start or article or spelt or (left and folded[begin - 1] not in separators)
    right = end == stop or (right and folded[end] not in separators)
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
    for candidate in candidates:
        word, start, end = candidate.word, candidate.start, candidate.end
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
            return all(accent in lower for accent in word.accents)
    return True
