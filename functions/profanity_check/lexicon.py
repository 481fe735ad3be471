"""The word lists, ready to search: every listed word, and the shapes it is disguised in, in two Aho-Corasick automata.

A list is written in sections, `[category severity]`, of comma-separated entries:

    *fuck*    letters may go before and after: "unfuckingbelievable"
    arsch~    not between hyphens, as in "kitchen-cum-diner"
    dick^     not when written as a name: "Dick"
    coño=     only with its accents: "cono" is a cone
    con !es   not when Spanish is searched, too: there it is "with"
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import ahocorasick

from .folding import fold

WORDS = Path(__file__).parent / "words"
# A letter repeated counts as one; "*" and "-", for hidden letters, do not.
_RUN = re.compile(r"([^*-])\1*|.")
# What people write to be read the same.
_MISSPELLINGS = (("i", "l"), ("l", "i"), ("i", "y"), ("f", "ph"), ("w", "vv"), ("u", "v"))
# What may follow a stem that is split in two: "fu cking", but not "bit chunks".
_ENDINGS = ("", "e", "ed", "en", "er", "ers", "es", "in", "ing", "s", "y")
# Letters in the middle of a word that may be hidden.
_MAX_HIDDEN = 4
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


@dataclass(frozen=True, slots=True)
class Word:
    """One entry of a word list."""

    #: as it is read: lower case, no accents, one space between words
    letters: str
    category: str
    #: 1 mild, 2 strong, 3 severe; 0 for an innocent, which clears what it covers
    severity: int
    opens_left: bool = False
    opens_right: bool = False
    #: "^", "~", "="
    flag: str = ""
    #: its letters that are not ASCII
    accents: str = ""


class Shape(NamedTuple):
    """One way a word is written, as found by an automaton."""

    word: Word
    #: how far the word's own letters reach from the start and the end of the key: 1 where the key holds the word edge
    before: int
    after: int
    size: int
    #: a space was put inside: "fu ck"
    split: bool = False


class Disguise(NamedTuple):
    """One way a word is written, with repeated letters as one, hidden ones as "*" or "-"."""

    word: Word
    #: how often each letter must be there at least
    runs: tuple[int, ...]


class Lexicon:
    """Words to find and innocents to clear."""

    def __init__(self, words: Iterable[Word]) -> None:
        shapes: dict[str, Shape] = {}
        disguises: dict[str, dict[tuple[Any, ...], Disguise]] = {}
        for word in sorted(words, key=lambda word: (word.severity > 0, -word.severity)):  # the first to claim a key has it
            for key, shape in _shapes(word):
                shapes.setdefault(key, shape)
            for key, disguise in _disguises(word):
                alike = (disguise.runs, disguise.word.opens_left, disguise.word.opens_right)
                disguises.setdefault(key, {}).setdefault(alike, disguise)
        #: finds a `Shape` in padded text
        self.plain = _automaton(shapes)
        #: finds `Disguise`s in runs of letters
        self.disguised = _automaton({key: tuple(found.values()) for key, found in disguises.items()})


@functools.lru_cache(maxsize=16)
def of_languages(languages: frozenset[str]) -> Lexicon:
    """Return the lexicon of these languages; read and built at its first use."""
    files = [*sorted(languages), "innocent"]
    return Lexicon(word for name in files for word in _read(WORDS / f"{name}.txt", languages))


@functools.lru_cache(maxsize=16)
def of_call(allow: tuple[str, ...], deny: tuple[str, ...]) -> Lexicon:
    """Return the lexicon of one caller's own words."""
    denied = (word for entry in deny for word in _parse(entry, "denied", 2, frozenset()))
    allowed = (word for entry in allow for word in _parse(entry, "", 0, frozenset()))
    return Lexicon([*denied, *allowed])


def _read(path: Path, languages: frozenset[str]) -> Iterator[Word]:
    category, severity = "", 0
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("["):
            category, _, level = line.strip("[]").partition(" ")
            severity = int(level)
        elif not line.startswith("#"):
            for entry in line.split(","):
                yield from _parse(entry, category, severity, languages)


def _parse(entry: str, category: str, severity: int, languages: frozenset[str]) -> Iterator[Word]:
    text, *exceptions = (part.strip() for part in entry.split("!"))
    if not text.strip("*") or languages.intersection(exceptions):
        return
    flag = text[-1] if text[-1] in "^~=" else ""
    text = text.removesuffix(flag)
    core = text.strip("*")
    for spelling in sorted({core, core.lower().translate(_UMLAUTS)}):
        letters = " ".join("".join(c if c.isalnum() else " " for c in fold(spelling)).split())
        if letters:
            accents = "".join(c for c in core.lower() if not c.isascii())
            yield Word(letters, category, severity, text.startswith("*"), text.endswith("*"), flag, accents)


def _shapes(word: Word) -> Iterator[tuple[str, Shape]]:
    """As listed; and of words of four letters or more misspelt, of stems with one space inside."""
    letters = word.letters
    yield _shape(word, letters)
    if not word.severity or len(letters) < 4:
        return
    for place, letter in enumerate(letters):
        if letter != " " and letter not in letters[place + 1 : place + 2]:
            yield _shape(word, letters[:place] + letter + letters[place:])
    for right, wrong in _MISSPELLINGS:
        yield _shape(word, letters.replace(right, wrong))
    if letters.endswith("s"):
        yield _shape(word, letters[:-1] + "z")
    if not word.opens_left:
        for right in ("ck", "c"):
            if len(wrong := letters.replace(right, "k")) > 4:
                yield _shape(word, wrong)
    elif " " not in letters:
        for place, ending in itertools.product(range(1, len(letters)), _ENDINGS if word.opens_right else ("",)):
            split = f" {letters[:place]} {letters[place:]}{ending} "
            yield split, Shape(word, 1, 1, len(split), split=True)


def _shape(word: Word, letters: str) -> tuple[str, Shape]:
    before, after = int(not word.opens_left), int(not word.opens_right)
    key = " " * before + letters + " " * after
    return key, Shape(word, before, after, len(key))


def _disguises(word: Word) -> Iterator[tuple[str, Disguise]]:
    """As listed; and of words of four letters or more with some inner letters, or all but the first, hidden."""
    if not word.severity and " " in word.letters:
        return
    letters = word.letters.replace(" ", "")
    yield _disguise(word, letters)
    yield _disguise(word, letters.replace("l", "i"))
    if not word.severity or " " in word.letters or len(letters) < 4:
        return
    alone = replace(word, opens_left=False)
    for start in range(1, len(letters) - 1):
        if letters[start] in "aeiou":
            yield _disguise(word, f"{letters[:start]}-{letters[start + 1 :]}")
        for stop in range(start + 1, min(start + _MAX_HIDDEN + 1, len(letters))):
            for stars in {stop - start, max(2, stop - start - 1), max(2, stop - start + 1)}:
                yield _disguise(word, letters[:start] + "*" * stars + letters[stop:])
            if stop - start > 1 and len(letters) < 6:
                yield _disguise(alone, letters[:start] + "-" * (stop - start) + letters[stop:])
    if word.opens_left:  # a stem needs less to be known: "f***", "motherfu**er"
        yield _disguise(alone, letters[0] + "*" * (len(letters) - 1))
        for shown in range(2, len(letters) - 1):
            yield _disguise(word, letters[:shown] + "*" * (len(letters) - shown))


def _disguise(word: Word, letters: str) -> tuple[str, Disguise]:
    runs = [match[0] for match in _RUN.finditer(letters)]
    return "".join(run[0] for run in runs), Disguise(word, tuple(map(len, runs)))


def _automaton(patterns: dict[str, Any]) -> ahocorasick.Automaton:
    automaton = ahocorasick.Automaton()
    for key, value in patterns.items():
        automaton.add_word(key, value)
    automaton.add_word("\0", None)  # an automaton without any word cannot be searched
    automaton.make_automaton()
    return automaton
