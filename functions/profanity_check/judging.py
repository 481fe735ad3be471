"""Tells whether letters read in a chunk are worth believing: "f.u.c.k" is, "f(u, c, k)" is code.

Each letter of a word is shown, mistaken for one that sounds alike, drawn by a digit or sign, or hidden.
A word is believed when enough of it is shown, when it has the edges it asks for, and when its letters are kept apart
as people do it: all of them, or the word in two.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from .disguises import ENDINGS, Word

#: How a letter of a word stands in a chunk.
SHOWN, MISTAKEN, DIGIT, SIGN, HIDDEN = range(5)
#: signs that may be a "c"
BRACKETS = frozenset("([{<")
#: signs that hide one vowel, or two letters, and no more
HYPHENS = frozenset("-_.")
# Signs that keep letters apart in code; of one kind and between all letters, people use them, too.
_OF_CODE = frozenset("([{<>=;?&,:\\")
# What splits a word in two.
_SPLITS = frozenset(" -._*~'/|")
_CLOSING = frozenset(")]}>")
_VOWELS = frozenset("aeiou")
_HEXADECIMAL = re.compile("[0-9a-f]+")
#: signs that are known to hide letters
_PLAIN_HIDING = frozenset("*#%~")
_SEVERE = 3
_STRONG = 2


class Letter(NamedTuple):
    """A letter of a word at chunk[start:stop]; one that is hidden is not known."""

    letter: str
    way: int
    start: int
    stop: int


def is_meant(chunk: str, word: Word, single: bool, letters: list[Letter]) -> bool:
    """Tell whether the writer of the chunk meant the word; `single` if one letter is to stand for a pair ("@shole")."""
    ways = [0] * 5
    for letter in letters:
        ways[letter.way] += 1
    shown, mistaken, digits, signs, hidden = ways
    length, drawn = len(letters), digits + signs
    begin, end = letters[0].start, letters[-1].stop
    written = chunk[begin:end]
    left, right = _is_edge(chunk, begin - 1, -1, not drawn), _is_edge(chunk, end, 1, not drawn)
    right = right or (word.opens_right and _is_ending(chunk[end:]))
    fits = (word.opens_left or left) and (word.opens_right or right)
    whole = left and right
    if mistaken:  # "stove-lid" is no "yid"
        few = mistaken == 1 and drawn + hidden <= length - 4 and not word.foreign
        if not (whole and few and length > (4 if word.severity < _SEVERE else 3)):
            return False
    if single and ("ck" not in word.letters or not whole) and (digits or not drawn):
        return False  # "cone" is no "conne"
    if drawn > shown and (not whole or (length < 5 and _HEXADECIMAL.fullmatch(written))):
        return False  # "nl64aryw" is no "nigga", "67f0" no "gtfo"
    if written[1:].isdigit() or written[:-1].isdigit():
        return False  # "B008", "900k"
    if length == 3 and digits and (drawn > 1 or written[-1].isdigit() or "v" in written):
        return False  # "AS5" is a flight, "CVL" a number plate
    kinds = len(set(written))
    if 4 * (shown + hidden) < length < 5 and not (signs == length and kinds > 1) and not (signs and kinds == length):
        return False
    if not shown and length > 4:
        return False
    if written.isalnum():
        return fits
    gaps = [
        chunk[first.stop : second.start]
        for first, second in pairwise(letters)
        if first.stop < second.start or first.letter != second.letter
    ]
    if hidden and not _is_hidden_well(chunk, word, letters, gaps, left, right):
        return False
    if signs and any(chunk[letter.start : letter.stop] in BRACKETS for letter in letters):
        sure = not (single or mistaken) and (whole or chunk[begin] not in BRACKETS)
        if not (sure and _is_a_c(chunk, letters, gaps)):
            return False
    if any(gaps):
        if (mistaken or drawn > shown) and not all(gaps):
            return False  # "i.ids", "LLE-580"
        return _are_kept_apart(chunk, word, letters, gaps, left, right)
    return fits and all(chunk[letter.start : letter.stop].isalnum() for letter in letters if letter.way == SHOWN)


def _is_hidden_well(chunk: str, word: Word, letters: list[Letter], gaps: list[str], left: bool, right: bool) -> bool:
    places = [place for place, letter in enumerate(letters) if letter.way == HIDDEN]
    length, hidden = len(letters), len(places)
    shown = sum(letter.way == SHOWN for letter in letters)
    drawn = length - hidden - shown
    spelled = word.letters
    if " " in spelled or len(spelled) != length:
        return False
    signs = "".join(chunk[start:stop] for start, stop in sorted({letters[place][2:] for place in places}))
    kinds = set(signs)
    before, after = chunk[: letters[0].start], chunk[letters[-1].stop :]
    alone = not any(map(str.isalnum, before + after)) or (not before and word.opens_right and _is_ending(after))
    together = places[-1] - places[0] == hidden - 1
    vowels = _VOWELS.issuperset(spelled[place] for place in places)
    tail = places[-1] == length - 1
    if kinds & set(before[-1:]):
        return False  # "%H%M%S"
    if any(gaps):  # "f.*.c.k"
        even = all(gaps) or (vowels and kinds == {"*"})
        return len(set(gaps) - {""}) == hidden == 1 and even and 2 * shown >= length > 3 and not tail
    if not left:
        return word.opens_left and not tail and hidden <= 2 and together and kinds <= _PLAIN_HIDING
    if kinds & HYPHENS:  # "sh-t", not "brush-tailed"
        if tail or drawn or len(kinds) > 1 or not right or 2 * shown < length or length < 4:
            return False
        return (hidden == 1 and vowels) or (hidden == len(signs) == 2 and together and word.opens_left)
    if tail:
        stars = kinds == {"*"} and "*" not in before
        if not together:
            return length == 4 and shown == 2 and word.opens_left and alone and stars  # "f*c*"
        if drawn or not alone or not (stars or len(kinds) > 1 or hidden == 1 < shown > 4):
            return False  # "C++"
        if length < 5 and not word.opens_left:
            return stars and hidden == len(signs) == length - (1 if length == 3 else 3) and word.severity == _STRONG  # "a**"
        if shown < 4 and not word.opens_left:
            return False
        return hidden == len(signs) or (stars and len(signs) > 1 and shown > 1) or (stars and len(signs) > 3)
    if length == 3:
        return vowels and alone and kinds == {"*"} and word.severity >= _STRONG
    if not together and not (vowels and all(spelled[place] not in _VOWELS or place in places for place in range(1, length))):
        return False
    if together and hidden > 4 and not (shown <= 3 and length > 5):
        return False
    if drawn:
        return right and 2 * shown >= length and (length > 4 or word.opens_left)
    if hidden == 1:
        return right or (word.opens_right and not kinds.isdisjoint(_PLAIN_HIDING))
    return kinds <= _PLAIN_HIDING or (word.opens_left and alone) or (shown == 1 and right)


def _is_a_c(chunk: str, letters: list[Letter], gaps: list[str]) -> bool:
    """Tell whether a bracket may be: "(unt" and "fu(k", but neither "<ul" nor "f(x)"."""
    first, last = letters[0], letters[-1]
    closed = not _CLOSING.isdisjoint(chunk[last.stop :]) or (chunk[first.start] in BRACKETS and len(letters) < 4)
    return not closed and (not any(gaps) or (len(set(gaps)) == 1 and all(gaps)))


def _are_kept_apart(chunk: str, word: Word, letters: list[Letter], gaps: list[str], left: bool, right: bool) -> bool:
    before, after = chunk[: letters[0].start], chunk[letters[-1].stop :]
    separators = set("".join(gaps))
    length = len(letters)
    starts = not any(map(str.isalnum, before)) or (left and before[-1] not in separators)
    stops = not any(map(str.isalnum, after)) or (right and after[0] not in separators)
    kinds = separators - _CLOSING
    if kinds != separators and kinds.isdisjoint(_OF_CODE):
        return False  # "a) s) s)"
    if len(kinds) > 1 and (length == 3 or (length == 4 and not kinds.isdisjoint(_OF_CODE))):
        return False
    if all(gaps):
        article = before.rstrip() in ("a", "i") and length > 3  # "a d i c k"
        return (
            (starts or article or word.opens_left)
            and (stops or word.opens_right)
            and (length > 3 or all(letter.way != DIGIT for letter in letters))
        )
    # In two: "sh-it", but not "choo-choo".
    splits = sum(map(bool, gaps))
    stretched = any(letter.stop - letter.start > 1 and letter.way == SHOWN for letter in letters)
    few = splits <= (1 if length < 6 else 2)
    return (
        starts
        and stops
        and few
        and length > 3
        and separators <= _SPLITS
        and not (stretched and length < 5 and separators != {"*"})
    )


def _is_ending(tail: str) -> bool:
    """Tell whether what follows a stem is an ending and no more."""
    return tail.rstrip("!?.,;:'\"*)-") in ENDINGS


def _is_edge(chunk: str, place: int, step: int, digits: bool) -> bool:
    """Tell whether a word ends before `place`; a few digits may follow a word that has none itself ("dick123")."""
    for _ in range(9):
        if not 0 <= place < len(chunk) or not chunk[place].isalnum():
            return True
        if not digits or not chunk[place].isdigit():
            return False
        place += step
    return False
