"""The word lists, ready to search: every listed word, in all its ways of being written, in two Aho-Corasick automata.

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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ahocorasick

from .disguises import Disguise, Shape, Word, disguises_of, shapes_of
from .folding import fold

WORDS = Path(__file__).parent / "words"
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


class Lexicon:
    """Words to find and innocents to clear."""

    def __init__(self, words: Iterable[Word]) -> None:
        shapes: dict[str, Shape] = {}
        disguises: dict[str, dict[tuple[Any, ...], Disguise]] = {}
        ordered = sorted(words, key=lambda word: (word.severity > 0, -word.severity))  # the first to claim a key has it
        as_listed = [next(shapes_of(word)) for word in ordered]
        for key, shape in itertools.chain(as_listed, *map(shapes_of, ordered)):
            shapes.setdefault(key, shape)
        for key, disguise in itertools.chain(*map(disguises_of, ordered)):
            alike = (disguise.spelled, disguise.runs, disguise.word.opens_left, disguise.word.opens_right)
            disguises.setdefault(key, {}).setdefault(alike, disguise)
        #: what was found in chunks of earlier texts
        self.known: dict[str, set[Any]] = {}
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


def _automaton(patterns: dict[str, Any]) -> ahocorasick.Automaton:
    automaton = ahocorasick.Automaton()
    for key, value in patterns.items():
        automaton.add_word(key, value)
    automaton.add_word("\0", None)  # an automaton without any word cannot be searched
    automaton.make_automaton()
    return automaton
