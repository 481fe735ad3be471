"""How a listed word is written in plain letters: as listed, misspelt, by sound, backwards, in two.

"fuck" is also "phuck", "fukc", "kcuf", "fu ck", "fxck". The classes are rules over any word, so that a new list entry has them all.
What holds symbols, digits or stretched letters is for `reading`, by the spellings of `spellings_of`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

# One letter that may be written for two.
_PAIR = re.compile(r"ck|(.)\1")
# Letters that are written for one another, in plain words one rule at a time, since each may make another word.
_SOUNDS = tuple(
    (re.compile(pattern), sound)
    for pattern, _, sound in (
        rule.partition(">")
        for rule in (  # noqa: SIM905  # rules are read more easily than a list of pairs
            "ck>k ck>kk ck>q ck>c c(?!h)>k (?<!c)k>c k>q qu>k f>ph ph>f u>v u>oo o>aw a$>ah v>b b>v i>l l>i i>y y>i i>ie i>ei i>ia "
            "s>z s$>z ss>zz ss(?=.)>s sch>sh ^sh>sch tch>ch ff(?=.)>f j>h j>x g(?=[ie])>j ll>y w>vv er$>a er$>ah er$>or "
            "ar(?=d)>er ou>u au>ai ei>ai chs>x chs>xx ss$>sz a>x e>x i>x o>x u>x"
        ).split()
    )
)
# What may follow a stem that is split in two: "fu cking", but not "bit chunks".
ENDINGS = ("", "e", "ed", "en", "er", "ers", "es", "in", "ing", "s", "y")
# Those before which a letter is doubled: "shitty".
_DOUBLING = ("ed", "er", "in", "ing", "y")
_STRONG = 2


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
    #: the list's, and those searched in which the word is an ordinary one
    language: str = ""
    foreign: frozenset[str] = frozenset()


class Shape(NamedTuple):
    """One way a word is written in plain letters, as found by an automaton."""

    word: Word
    #: how far the word's own letters reach from the start and the end of the key: 1 where the key holds the word edge
    before: int
    after: int
    size: int
    #: a space was put inside: "fu ck"
    split: bool = False


def shapes_of(word: Word) -> Iterator[tuple[str, Shape]]:
    """Yield as listed; and of single words of four letters or more misspelt, backwards, and split by spaces."""
    letters = word.letters
    yield _shape(word, letters)
    if not word.severity or len(letters) < 4 or " " in letters or word.foreign:
        return
    yield from (_shape(word, wrong) for wrong in _doubled(letters))
    for wrong in set(_by_sound(letters)) - {letters}:
        if len(wrong) > 3:
            yield from _guessed(word, wrong)
    if word.severity < _STRONG:
        return
    for wrong in set(_swapped(letters)) - {letters}:
        yield from _guessed(word, wrong)
    for ending in _endings(word):
        yield _shape(replace(word, opens_left=False, opens_right=False), (letters + ending)[::-1])
    if word.opens_left or len(letters) > 5:
        least = 1 if word.opens_left or len(letters) > 6 else 2
        for place, ending in itertools.product(range(least, len(letters) - least + 1), _endings(word)):
            yield _split(word, f"{letters[:place]} {letters[place:]}{ending}")
    if word.opens_left and len(letters) < 6:
        for first, second in itertools.combinations(range(1, len(letters)), 2):
            yield _split(word, f"{letters[:first]} {letters[first:second]} {letters[second:]}")


def _guessed(word: Word, letters: str) -> Iterator[tuple[str, Shape]]:
    """Yield a form that may be part of other words: as a whole word, with the endings of a stem."""
    closed = replace(word, opens_left=False, opens_right=False)
    return (_shape(closed, letters + ending) for ending in _endings(word))


def _endings(word: Word) -> tuple[str, ...]:
    doubling = word.letters[-1:]
    return (*ENDINGS, *(doubling + ending for ending in _DOUBLING)) if word.opens_right else ("",)


def _doubled(letters: str) -> Iterator[str]:
    for place, letter in enumerate(letters):
        if letter not in letters[place + 1 : place + 2]:
            yield letters[:place] + letter + letters[place:]


def _by_sound(letters: str) -> Iterator[str]:
    for written in {letters, letters.replace("ck", "k")}:
        for pattern, sound in _SOUNDS:
            yield pattern.sub(sound, written)
            yield pattern.sub(sound, written, count=1)


def _swapped(letters: str) -> Iterator[str]:
    for place in range(1, len(letters) - 1):
        yield letters[:place] + letters[place + 1] + letters[place] + letters[place + 2 :]


def _shape(word: Word, letters: str) -> tuple[str, Shape]:
    before, after = int(not word.opens_left), int(not word.opens_right)
    key = " " * before + letters + " " * after
    return key, Shape(word, before, after, len(key))


def _split(word: Word, letters: str) -> tuple[str, Shape]:
    return f" {letters} ", Shape(word, 1, 1, len(letters) + 2, split=True)


def spellings_of(word: Word) -> Iterator[tuple[str, bool]]:
    """Yield the letters as listed; and of longer words and stems with one for a pair: "@shole", "fu|<"."""
    letters = word.letters.replace(" ", "")
    yield letters, False
    single = _PAIR.sub(_single, letters)
    if single != letters == word.letters and len(letters) > (3 if word.opens_left else 4):
        yield single, True


def _single(pair: re.Match[str]) -> str:
    return "k" if pair[0] == "ck" else pair[0][0]
