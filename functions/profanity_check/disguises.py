"""How a listed word is written: as listed, misspelt, by sound, backwards, taken apart, or with letters hidden.

Plain letters are looked up in `shapes_of`: "fuck" also as "phuk", "fukc", "kcuf", "fu ck", "fxck". What holds symbols,
digits or stretched letters is reduced to `canonical` letters, each run of one as one, and looked up in `disguises_of`:
"F|_|CK", "f.u.q", "f*ck". The classes are rules over any word, so that a new list entry has them all.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

# A letter repeated counts as one; "*" and "-", for hidden letters, do not.
_RUN = re.compile(r"([^*-])\1*|.")
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
_VOWEL = re.compile("[aeiou]")
_CANONICAL = str.maketrans("lyvzkq", "iiuscc")
# What may follow a stem that is split in two: "fu cking", but not "bit chunks".
ENDINGS = ("", "e", "ed", "en", "er", "ers", "es", "in", "ing", "s", "y")
# Letters in the middle of a word that may be hidden.
_MAX_HIDDEN = 4
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


class Shape(NamedTuple):
    """One way a word is written in plain letters, as found by an automaton."""

    word: Word
    #: how far the word's own letters reach from the start and the end of the key: 1 where the key holds the word edge
    before: int
    after: int
    size: int
    #: a space was put inside: "fu ck"
    split: bool = False


class Disguise(NamedTuple):
    """One way a word is written in canonical letters, with repeated ones as one, hidden ones as "*" or "-"."""

    word: Word
    #: the letters of each run as they are spelled
    spelled: tuple[str, ...]
    #: how often each letter must be there at least
    runs: tuple[int, ...]


def canonical(letters: str) -> str:
    """Return the letters with those that look or sound alike as one: "phuq" and "phvk" are both "phuc"."""
    return letters.translate(_CANONICAL)


def shapes_of(word: Word) -> Iterator[tuple[str, Shape]]:
    """Yield as listed; and of single words of four letters or more misspelt, backwards, and split by spaces."""
    letters = word.letters
    yield _shape(word, letters)
    if not word.severity or len(letters) < 4 or " " in letters:
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
    return ENDINGS if word.opens_right else ("",)


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


def disguises_of(word: Word) -> Iterator[tuple[str, Disguise]]:
    """Yield as listed; and of words of four letters or more with some inner letters, or all but the first, hidden."""
    if not word.severity and " " in word.letters:
        return
    letters = word.letters.replace(" ", "")
    yield _disguise(word, letters)
    if len(letters) == 3 and word.severity > _STRONG and letters[1] in "aeiou":
        yield _disguise(word, f"{letters[0]}*{letters[2]}")
    if not word.severity or " " in word.letters or len(letters) < 4:
        return
    alone = replace(word, opens_left=False)
    if word.opens_left or len(letters) > 4:
        yield _disguise(alone, letters, single=True)  # "fu|<", "@shole"
    for start in range(1, len(letters) - 1):
        if letters[start] in "aeiou":
            yield _disguise(word, f"{letters[:start]}-{letters[start + 1 :]}")
        for stop in range(start + 1, min(start + _MAX_HIDDEN + 1, len(letters))):
            if word.opens_left and stop - start == 2:  # "f--k"
                yield _disguise(alone, letters[:start] + "--" + letters[stop:])
            for stars in {stop - start, max(2, stop - start - 1), max(2, stop - start + 1)}:
                yield _disguise(word, letters[:start] + "*" * stars + letters[stop:])
    if len(letters) > 4:
        yield _disguise(word, letters[0] + _VOWEL.sub("*", letters[1:]))  # "n*gg*r"
    if len(letters) > 5:
        yield _disguise(alone, letters[0] + "*" * (len(letters) - 2) + letters[-1])  # "a*****e"
    for shown in range(4, len(letters) - 1):
        yield _disguise(alone, letters[:shown] + "**")  # "bulls**"
    if word.opens_left:  # a stem needs less to be known: "f***", "motherfu**er"
        yield _disguise(alone, letters[0] + "*" * (len(letters) - 1))
        for shown in range(2, len(letters) - 1):
            yield _disguise(word, letters[:shown] + "*" * (len(letters) - shown))


def _disguise(word: Word, letters: str, *, single: bool = False) -> tuple[str, Disguise]:
    reduced = canonical(letters)
    runs = [match.span() for match in _RUN.finditer(reduced)]
    spelled = tuple(letters[start:stop] for start, stop in runs)
    least = tuple(1 if single and run in ("ck", run[0] * 2) else len(run) for run in spelled)
    return "".join(reduced[start] for start, _ in runs), Disguise(word, spelled, least)
