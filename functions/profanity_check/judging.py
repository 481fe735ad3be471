"""Tells whether letters found in a chunk are worth believing: "f.u.c.k" is, "f(u, c, k)" is code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .chunks import DRAWN_ON, DROPPED, Table
from .disguises import Disguise

# Signs that keep letters apart in code; of one kind only, people use them, too.
_OF_CODE = frozenset("([{<>=;?&")
_CLOSING = frozenset(")]}")


class Run(NamedTuple):
    """One letter of a reading, as it stands in the chunk: `count` of it at chunk[start:stop]."""

    start: int
    stop: int
    count: int


def is_meant(chunk: str, runs: Sequence[Run], disguise: Disguise, table: Table) -> bool:
    """Tell whether the disguise's word is what the writer of the chunk meant by these runs."""
    if any(run.count < least for run, least in zip(runs, disguise.runs, strict=True)):
        return False  # "as" is not "ass"
    size = sum(run.count for run in runs)
    word, begin, end = disguise.word, runs[0].start, runs[-1].stop
    written = chunk[begin:end]
    digits = sum(map(str.isdigit, written))
    if 5 * digits > 3 * size or (size == 3 and written[-1].isdigit()):
        return False  # "A55" is a road, "AS5" a flight
    left, right = _is_edge(chunk, begin - 1, -1), _is_edge(chunk, end, 1)
    if written.isalnum():
        return (word.opens_left or left) and (word.opens_right or right)
    meanings = {sign: table.get(ord(sign), DROPPED) for sign in written if not sign.isalnum() and sign != DRAWN_ON}
    separators = {sign for sign, meaning in meanings.items() if not meaning.isalpha()}
    if _hides_too_much(written, meanings, separators) or _is_code(meanings, separators):
        return False
    if size + written.count(DRAWN_ON) == end - begin:
        return (word.opens_left or left) and (word.opens_right or right)
    if size == 3 and (digits or len(separators) > 1 or DRAWN_ON in written):
        return False
    # Letters pulled apart: the word must fill the chunk, or end where the way of pulling apart ends.
    article = begin == 2 and chunk[0] in "ai" and size > 3  # "a d i c k"
    spelt = word.opens_left and end - begin >= 2 * size - 1  # a stem, letter by letter: "w t f f u c k"
    left = begin == 0 or article or spelt or (left and chunk[begin - 1] not in separators)
    right = end == len(chunk) or (right and chunk[end] not in separators)
    return left and (right or word.opens_right)


def _hides_too_much(written: str, meanings: dict[str, str], separators: set[str]) -> bool:
    hidden = [sign for sign in written if meanings.get(sign) in ("*", "-")]
    if not hidden:
        return False
    leet = len(separators) < len(meanings)
    timid = "-" in meanings.values() and (len(meanings) > 1 or sum(map(str.isalpha, written)) < 2)
    return " " in written or timid or (leet and len(hidden) > 1)


def _is_code(meanings: dict[str, str], separators: set[str]) -> bool:
    kinds = separators - _CLOSING
    return (len(kinds) > 1 and not kinds.isdisjoint(_OF_CODE)) or (bool(kinds) and meanings.get("(") == "c")


def _is_edge(chunk: str, place: int, step: int) -> bool:
    """Tell whether a word ends before `place`; digits may follow it ("dick123"), a few."""
    for _ in range(9):
        if not 0 <= place < len(chunk) or not chunk[place].isalnum():
            return True
        if not chunk[place].isdigit():
            return False
        place += step
    return False
