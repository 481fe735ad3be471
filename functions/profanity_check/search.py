"""Finds the words of a lexicon in a text, plain or disguised. Takes time in proportion to the text's length.

1. Plain text, where nearly everything is: symbols become spaces, and one automaton that knows word edges reads it.
2. Chunks that are no plain word (`chunks`) are read letter by letter through a tree of the words (`reading`), and every find is
   judged (`judging`). Equal chunks are read once.
3. Finds inside an innocent word or phrase are dropped, and those that are ordinary words of the language around them (`tongues`);
   of overlapping finds the first and longest stays.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from .chunks import beside, chunks
from .disguises import Word
from .folding import Origins, fold, reveal
from .lexicon import Lexicon
from .reading import read
from .tongues import is_spoken

#: Finds that are told; what is beyond them is not.
MAX_FINDS = 10_000
# Chunks whose finds are kept for the next texts; none is longer than 202 characters.
_MAX_KNOWN = 20_000
# Steps of reading for one text: some 500,000 characters of nothing but disguises never met before. It takes seconds.
_MAX_STEPS = 3_000_000

# "FA46", "A55", "SH17", "F4G", "F001A"
_CODE = re.compile(r"(?=.{3,5}$)(?=.*[A-Z])(?:[A-Z\d]*\d\d|[A-Z\d]{3}|[A-Z]?\d{3,}[A-Z]?)")
_CAMEL = re.compile("[a-z][A-Z][a-z]")
# Longer ones with digits inside are no words.
_MAX_WORD = 19
_NO_LETTER = re.compile(r"[\W_]")
# Of phrases, "j3rk off" and "me c4go en", too.
_DRAWN_LETTER = re.compile(r"[013457@$!](?<=[a-z].)[013457@$!]?[a-z]")
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
        disguised, unfinished = _disguised(folded, placed, lexicon)
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


def _disguised(folded: str, placed: list[tuple[int, str]], lexicon: Lexicon) -> tuple[list[Find], bool]:
    """Return what is found in the chunks, and whether not all were read."""
    finds: list[Find] = []
    steps = 0
    for place, chunk in placed:
        if steps > _MAX_STEPS:
            return finds, True
        found, taken = _read(chunk, lexicon)
        steps += taken
        finds += [Find(place + start, place + end, word) for start, end, word in found]
        if not found:
            for begin, halves in beside(folded, place, place + len(chunk)):
                found, taken = _read(halves, lexicon)
                steps += taken
                finds += [Find(begin + start, begin + end, word) for start, end, word in found]
    return finds, False


def _read(chunk: str, lexicon: Lexicon) -> tuple[list[tuple[int, int, Word]], int]:
    """Return what is found in the chunk, and the steps it took; none if it was met before, since texts repeat themselves."""
    known = lexicon.known
    if chunk in known:
        return known[chunk], 0
    if len(known) > _MAX_KNOWN:
        known.clear()
    found, steps = read(chunk, lexicon.words, lexicon.stems)
    known[chunk] = found
    return found, steps


def _settle(text: str, padded: str, candidates: list[Find]) -> Iterator[Find]:
    origin = Origins(text)
    cleared = taken = 0
    for start, end, word in candidates:
        if not word.severity:
            if end > cleared:
                cleared = padded.index(" ", end + 1) - 1 if word.opens_right else end
            continue
        if start < taken or end <= cleared:
            continue
        # Open words reach to the edges of the whole word they are in. `padded` is one place ahead.
        first, last = start, end
        if word.opens_left:
            first = max(taken, padded.rindex(" ", 0, start + 1))
        if word.opens_right:
            last = padded.index(" ", end + 1) - 1
        if last - first > end - start and _is_chance(text[origin[first] : origin[last]], text[origin[start] : origin[end]]):
            continue
        start, end = first, last
        if word.foreign and not is_spoken(word.language, padded, start + 1, end + 1, word.foreign):
            continue
        found = Find(origin[start], origin[end], word)
        if _flag_allows(text, found):
            taken = end
            yield found


def _is_chance(whole: str, written: str) -> bool:
    """Tell whether a stem is in a name of code ("isHit") or in what machines write ("8kWH0xZshIT0BtQo9oFLIVQ9e2EvfkJB")."""
    return bool(_CAMEL.search(written) and not whole.startswith(written)) or (
        len(whole) > _MAX_WORD and any(map(str.isdigit, whole.rstrip(string.digits)))
    )


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
