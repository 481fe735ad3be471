"""The word lists, ready to search: every listed word, in all its plain ways of being written, in an Aho-Corasick automaton,
and letter by letter in a tree.

A list is written in sections, `[category severity]`, of comma-separated entries:

    *fuck*    letters may go before and after: "unfuckingbelievable"
    arsch~    not between hyphens, as in "kitchen-cum-diner"
    dick^     not when written as a name: "Dick"
    coño=     only with its accents: "cono" is a cone
    con !es   when Spanish is searched, too, only among French words: "con" is Spanish for "with"
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ahocorasick

from .disguises import Shape, Word, shapes_of, spellings_of
from .folding import fold
from .reading import Node

WORDS = Path(__file__).parent / "words"
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


class Lexicon:
    """Words to find and innocents to clear."""

    def __init__(self, words: Iterable[Word]) -> None:
        shapes: dict[str, Shape] = {}
        ordered = sorted(words, key=lambda word: (word.severity > 0, -word.severity))  # the first to claim a key has it
        as_listed = [next(shapes_of(word)) for word in ordered]
        for key, shape in itertools.chain(as_listed, *map(shapes_of, ordered)):
            shapes.setdefault(key, shape)
        #: the words letter by letter, and those of them that may begin inside a word
        self.words, self.stems = Node(), Node()
        for word in ordered:
            for letters, single in spellings_of(word) if word.severity else ():
                self.words.add(letters, word, single)
                if word.opens_left:
                    self.stems.add(letters, word, single)
        self.words.complete(inside=False)
        self.stems.complete(inside=True)
        #: what was found in chunks of earlier texts
        self.known: dict[str, list[tuple[int, int, Word]]] = {}
        #: finds a `Shape` in padded text
        self.plain = _automaton(shapes)


@functools.lru_cache(maxsize=16)
def of_languages(languages: frozenset[str]) -> Lexicon:
    """Return the lexicon of these languages; read and built at its first use."""
    files = [*sorted(languages), "innocent"]
    return Lexicon(word for name in files for word in _read(WORDS / f"{name}.txt", languages))


@functools.lru_cache(maxsize=16)
def of_call(allow: tuple[str, ...], deny: tuple[str, ...]) -> Lexicon:
    """Return the lexicon of one caller's own words."""
    denied = (word for entry in deny for word in _parse(entry, "denied", 2))
    allowed = (word for entry in allow for word in _parse(entry, "", 0))
    return Lexicon([*denied, *allowed])


def _read(path: Path, languages: frozenset[str]) -> Iterator[Word]:
    category, severity = "", 0
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("["):
            category, _, level = line.strip("[]").partition(" ")
            severity = int(level)
        elif not line.startswith("#"):
            for entry in line.split(","):
                yield from _parse(entry, category, severity, path.stem, languages)


def _parse(entry: str, category: str, severity: int, language: str = "", languages: Iterable[str] = ()) -> Iterator[Word]:
    text, *exceptions = (part.strip() for part in entry.split("!"))
    if not text.strip("*"):
        return
    foreign = frozenset(exceptions).intersection(languages)
    flag = text[-1] if text[-1] in "^~=" else ""
    text = text.removesuffix(flag)
    core = text.strip("*")
    for spelling in sorted({core, core.lower().translate(_UMLAUTS)}):
        letters = " ".join("".join(c if c.isalnum() else " " for c in fold(spelling)).split())
        if letters:
            accents = "".join(c for c in core.lower() if not c.isascii())
            yield Word(letters, category, severity, text.startswith("*"), text.endswith("*"), flag, accents, language, foreign)


def _automaton(patterns: dict[str, Any]) -> ahocorasick.Automaton:
    automaton = ahocorasick.Automaton()
    for key, value in patterns.items():
        automaton.add_word(key, value)
    automaton.add_word("\0", None)  # an automaton without any word cannot be searched
    automaton.make_automaton()
    return automaton
