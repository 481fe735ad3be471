"""Tells whether letters found in a chunk are worth believing: "f.u.c.k" is, "f(u, c, k)" is code.

Each letter of a find is shown, mistaken for one that looks or sounds alike ("I" for "l"), drawn by a digit or sign, or hidden.
A find is believed when enough of it is shown, when it has the edges its word asks for, and when its letters are kept apart
as people do it: all of them, or the word in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from .chunks import DRAWN_ON, DROPPED, Table
from .disguises import ENDINGS, Disguise, Word

# Signs that keep letters apart in code; of one kind and between all letters, people use them, too.
_OF_CODE = frozenset("([{<>=;?&,:\\")
# What can stand for the letters of a run that are read alike.
_DRAWS = {"1": "il", "!": "il", "|": "il", "2": "z", "(": "c", "<": "c", "5": "s", "$": "s"}
# What splits a word in two.
_SPLITS = frozenset(" -._*~'/|")
_CLOSING = frozenset(")]}")
_SEVERE = 3


class Run(NamedTuple):
    """One letter of a reading, as it stands in the chunk: `count` of it at chunk[start:stop]."""

    start: int
    stop: int
    count: int


class _Weights(NamedTuple):
    """How many letters of a word are there in each way."""

    length: int
    shown: int
    mistaken: int
    digits: int
    signs: int
    hidden: int
    #: runs that are shorter than spelled: "@shole"
    merged: int

    @property
    def drawn(self) -> int:
        return self.digits + self.signs


def _weigh(chunk: str, runs: Sequence[Run], disguise: Disguise, table: Table) -> _Weights | None:
    weights = {"shown": 0, "mistaken": 0, "digits": 0, "signs": 0, "hidden": 0}
    length = merged = 0
    for (start, stop, count), spelled, least in zip(runs, disguise.spelled, disguise.runs, strict=True):
        if count < least:
            return None  # "as" is not "ass"
        length += least
        piece = chunk[start:stop]
        if spelled in "*-":
            weights["hidden"] += least
        elif piece == spelled:
            weights["shown"] += least
        else:
            merged += count < len(spelled)
            weights[_way(piece, spelled, least, table)] += least
    return _Weights(length, **weights, merged=merged)


def _way(piece: str, spelled: str, least: int, table: Table) -> str:
    letters = set(spelled)
    signs = {sign for sign in piece if table.get(ord(sign), sign) != DROPPED}
    strange = signs - letters
    drawing = {sign for sign in strange if not sign.isalpha() or (sign == "v" and spelled == "u")}
    if strange != drawing or any(letters.isdisjoint(_DRAWS.get(sign, letters)) for sign in drawing):
        return "mistaken"
    if letters <= signs or (spelled == "ck" and "k" in signs):
        return "shown"
    if not drawing or (spelled == "ck" and least == 1):
        return "mistaken"
    return "digits" if any(map(str.isdigit, drawing)) else "signs"


def is_meant(chunk: str, runs: Sequence[Run], disguise: Disguise, table: Table) -> bool:
    """Tell whether the disguise's word is what the writer of the chunk meant by these runs."""
    weights = _weigh(chunk, runs, disguise, table)
    if not weights:
        return False
    word, begin, end = disguise.word, runs[0].start, runs[-1].stop
    written = chunk[begin:end]
    left, right = _is_edge(chunk, begin - 1, -1, not weights.drawn), _is_edge(chunk, end, 1, not weights.drawn)
    right = right or (word.opens_right and _is_ending(chunk[end:]))
    fits = (word.opens_left or left) and (word.opens_right or right)
    if not word.severity:  # an innocent is written as it is: "poilas" does not clear "p0llas"
        return fits and weights.shown == weights.length == len(written)
    if not _is_enough(weights, disguise, written, left and right):
        return False
    if written.isalnum():
        return fits
    meanings = {sign: table.get(ord(sign), DROPPED) for sign in written if not sign.isalnum() and sign != DRAWN_ON}
    separators = {sign for sign, meaning in meanings.items() if meaning == DROPPED}
    if weights.hidden:
        alone = not any(map(str.isalnum, chunk[:begin] + chunk[end:]))
        if weights.length == 3 and not (alone and "*" in meanings):
            return False  # "f#g" in an address
        if not _hides_as_people_do(meanings, separators, weights, word.opens_left and alone, left and right):
            return False
    if meanings.get("(", DROPPED) != DROPPED and not _is_a_c(chunk, runs, separators, weights, word):
        return False
    return _are_kept_apart(chunk, runs, separators, weights, word, left, right) if separators else fits


def _is_enough(weights: _Weights, disguise: Disguise, written: str, whole: bool) -> bool:
    length, drawn, severity = weights.length, weights.drawn, disguise.word.severity
    if weights.mistaken:  # "stove-lid" is no "yid"
        few = weights.mistaken == 1 and drawn + weights.hidden <= length - 4
        if not (whole and few and length > (4 if severity < _SEVERE else 3)):
            return False
    if weights.merged and ("ck" not in disguise.spelled or not whole) and (weights.digits or not drawn):
        return False  # "cone" is no "conne"
    if drawn > weights.shown and not whole:
        return False  # "nl64aryw" is no "nigga"
    if written[1:].isdigit() or written[:-1].isdigit():
        return False  # "B008", "900k"
    if length == 3 and weights.digits and (drawn > 1 or written[-1].isdigit()):
        return False  # "AS5" is a flight
    return 4 * (weights.shown + weights.hidden) >= length or weights.signs == length == 3


def _hides_as_people_do(
    meanings: dict[str, str], separators: set[str], weights: _Weights, lone_stem: bool, whole: bool
) -> bool:
    shown, length = weights.shown, weights.length
    if "-" in meanings.values():  # "sh-t", not "brush-tailed"
        return whole and len(meanings) == 1 and not weights.drawn and 2 * shown >= length and shown + weights.hidden > 3
    if separators:
        return len(separators) == 1 and weights.hidden == 1 and 2 * shown >= length > 3
    if weights.drawn:
        return 2 * shown >= length and (length > 4 or lone_stem)
    if weights.hidden == 1 and (whole or not meanings.keys().isdisjoint("*#%~")):
        return True
    return meanings.keys() <= {"*", "~"} or lone_stem or (shown == 1 and whole)


def _is_a_c(chunk: str, runs: Sequence[Run], separators: set[str], weights: _Weights, word: Word) -> bool:
    """Tell whether a "(" may be: "(unt" and "fu(k", but neither "(rap", "(under" nor "f(x)"."""
    begin, end = runs[0].start, runs[-1].stop
    if chunk[begin] == "(" and weights.length < 6 and (word.severity < _SEVERE or chunk[end : end + 1].isalnum()):
        return False
    return ")" not in chunk[end:] and (not separators or (len(separators) == 1 and not _touch(runs)))


def _are_kept_apart(
    chunk: str, runs: Sequence[Run], separators: set[str], weights: _Weights, word: Word, left: bool, right: bool
) -> bool:
    before, after = chunk[: runs[0].start], chunk[runs[-1].stop :]
    starts = not any(map(str.isalnum, before)) or (left and before[-1] not in separators)
    stops = not any(map(str.isalnum, after)) or (right and after[0] not in separators)
    kinds = separators - _CLOSING
    if kinds != separators and kinds.isdisjoint(_OF_CODE):
        return False  # "a) s) s)"
    if len(kinds) > 1 and (weights.length == 3 or not kinds.isdisjoint(_OF_CODE)):
        return False
    if not _touch(runs):
        article = before.rstrip() in ("a", "i") and weights.length > 3  # "a d i c k"
        return (
            (starts or article or word.opens_left)
            and (stops or word.opens_right)
            and (weights.length > 3 or not weights.digits)
        )
    # In two: "sh-it", but not "choo-choo".
    splits = sum(first.stop < second.start for first, second in pairwise(runs))
    stretched = sum(run.count for run in runs) > weights.length
    few = splits <= (1 if weights.length < 6 else 2)
    return starts and stops and few and weights.length > 3 and separators <= _SPLITS and not stretched


def _touch(runs: Sequence[Run]) -> bool:
    """Tell whether some letters have nothing between them."""
    return any(first.stop == second.start for first, second in pairwise(runs))


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
