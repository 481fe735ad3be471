"""Reads a chunk as the words it may stand for, one letter after another through a tree of the words.

A sign may be a letter ("$"), part of a drawn one ("|<"), hide one ("*") or keep two apart ("."), whatever the signs around it
are: every way that leads on in the tree is followed. "f.u.u.c|<", "5h*t" and "a$$h()le" need no rule of their own.
"""

from __future__ import annotations

import re
import string
from typing import Any

from .disguises import ENDINGS, Word
from .judging import BRACKETS, DIGIT, HIDDEN, HYPHENS, MISTAKEN, SHOWN, SIGN, Letter, is_meant

# The letters that a letter, digit or sign may stand for, besides itself.
_MISTAKEN = {"ph": "f", "l": "i", "i": "ly", "y": "i", "z": "s", "s": "z", "k": "c", "c": "k", "q": "ck"}
_DIGITS = {"v": "u", "0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "gb", "7": "t", "8": "b", "9": "g"}
_SIGNS = {"@": "a", "!": "il", "|": "il", "$": "s", "+": "t", "(": "c", "<": "c", "{": "c", "[": "c"}
_DRAWN = {
    letter: sign
    for signs, sign in {
        r"/\/\ |\/| |v| (v) ^^": "m",
        r"\/\/ |/\| vv": "w",
        r"|\| /\/": "n",
        r"|_| (_) [_]": "u",
        r"/-\ /\ ": "a",
        r"|-| }{ |~| #": "h",
        r"() [] {}": "o",
        r"|< |{": "k",
        r"|) [)": "d",
        r"|=": "f",
        r"|3 |}": "b",
        r"|> |* |°": "p",
        r"|2 |?": "r",
        r"_|": "j",
        r"|_": "l",
        r"\/": "v",
        r"><": "x",
        r"< [": "c",
    }.items()
    for letter in signs.split()
}
# Signs that can hide letters, and stand between them.
_HIDES = frozenset("*#%&@!?$+^~-_.")
# Signs that hide the letters of one word, and characters between two of its letters, at the most.
_MAX_HIDDEN = 12
_MAX_GAP = 6
# The longest chunk that may be a word in two.
_MAX_IN_TWO = 25
# Steps that are taken in a chunk, and for each of its characters, at the most: of the disguises met so far, one in 200 took more.
_STEPS = 140
_STEPS_EACH = 3
# What can stand between letters.
_APART = frozenset(string.punctuation + " ")


class Node(dict[str, "Node"]):
    """What may follow some letters, and the words that end here."""

    __slots__ = ("_below", "depth", "firsts", "number", "words")

    def __init__(self, depth: int = 0) -> None:
        super().__init__()
        self.number = id(self)
        self.depth = depth
        #: what a word may begin with, of the root
        self.firsts: frozenset[str] = frozenset()
        #: and whether they are spelled with one letter for a pair
        self.words: list[tuple[Word, bool]] = []
        self._below: dict[int, dict[str, list[Node]]] = {}

    def add(self, letters: str, word: Word, single: bool) -> None:
        """Let the letters end in the word."""
        node = self
        for letter in letters:
            node = node.setdefault(letter, Node(node.depth + 1))
        node.words.append((word, single))

    def complete(self, *, inside: bool) -> None:
        """Note what the words may begin with; `inside` another, where none is mistaken for another letter."""
        ways = ((first, letter, way) for first, ways in _WAYS.items() for _, letter, way in ways)
        self.firsts = frozenset(self) | {
            first for first, letter, way in ways if letter in self and not (inside and way == MISTAKEN)
        }

    def below(self, depth: int) -> dict[str, list[Node]]:
        """Return what is reached by so many letters, whichever they are: by the letter that follows, "" if a word ends."""
        if depth not in self._below:
            nodes: list[Node] = [self]
            for _ in range(depth):
                nodes = [child for node in nodes for child in node.values()]
            found: dict[str, list[Node]] = {}
            for node in nodes:
                for letter in node:
                    found.setdefault(letter, []).append(node)
                if any(word.opens_left or len(word.letters) == 3 or len(word.letters) - depth > 2 for word, _ in node.words):
                    found.setdefault("", []).append(node)
            self._below[depth] = found
        return self._below[depth]


# All of what is written, the letter, and the way.
_Way = tuple[str, str, int]


class _Ways(dict[str, tuple[_Way, ...]]):
    """The first character of what can be a letter -> the ways in which it can."""

    def __init__(self) -> None:
        ways: dict[str, list[_Way]] = {letter: [(letter, letter, SHOWN)] for letter in string.ascii_lowercase}
        for table, way in ((_MISTAKEN, MISTAKEN), (_DIGITS, DIGIT), (_SIGNS, SIGN), (_DRAWN, SIGN)):
            for written, letters in table.items():
                ways.setdefault(written[0], []).extend((written, letter, way) for letter in letters)
        # The last is followed first: that of several signs, then the letter itself.
        ordered = {first: sorted(found, key=lambda way: (len(way[0]), -way[2])) for first, found in ways.items()}
        super().__init__(dict.fromkeys(_APART, ()) | {first: tuple(found) for first, found in ordered.items()})

    def __missing__(self, character: str) -> tuple[_Way, ...]:
        return ((character, character, SHOWN),)


_WAYS = _Ways()
_APART_TAIL = re.compile(r"(?:[^a-z0-9]{1,6}[a-z])+(?![a-z0-9])")
_TAIL = re.compile(r"[a-z0-9!|$]*[a-z0-9$]")
_TAIL_LETTERS = str.maketrans("!|135$", "iiiess")
#: the letters up to one: those before it, and what `Letter` holds
_Path = tuple[Any, str, int, int, int]  # its first is a _Path or None
# Where a reading has come to: what may follow, at which place (~place if letters are hidden there), the letters so far,
# how many gaps and hidden letters they have.
_Step = tuple["Node", int, "_Path | None", int, int]


def read(chunk: str, words: Node, stems: Node) -> tuple[list[tuple[int, int, Word]], int]:
    """Return the words that are meant in the chunk, with their places, and how many steps it took.

    `stems` are the words that may begin inside another. The steps are bounded by the length of the chunk.
    """
    found = []
    size = len(chunk)
    most = steps = _STEPS + _STEPS_EACH * size
    before = ""
    beyond = 0
    for first, character in enumerate(chunk):
        if character == before or first < beyond or (character in BRACKETS and not chunk[first + 1 : first + 2].isalnum()):
            before = character
            continue  # a run is read from its first
        root = stems if before.isalpha() else words
        before = character
        if character not in root.firsts:
            continue
        todo: list[_Step] = []
        _spell(chunk, first, (root, first, None, 0, 0), todo)
        seen = set()
        while todo and steps:
            steps -= 1
            step = node, place, path, gaps, hidden = todo.pop()
            if place < 0:
                _hide(chunk, step, todo)
                continue
            key = (node.number, place, gaps, hidden)
            if key in seen:
                continue
            seen.add(key)
            if node.words and (word := _meant(chunk, node, path)):
                beyond = _ending(chunk, place, apart=gaps > 0) if word.opens_right else place
                found.append((first, beyond, word))
                if not (word.flag or word.foreign):  # what these ask for is not known here
                    break
            if place == size:
                continue
            # In much text only letters that are all kept apart are looked for across signs, and not words in two.
            reach = _MAX_GAP if size < _MAX_IN_TWO or gaps + 1 >= node.depth - 1 else 1
            for further in range(place, min(place + reach, size)):
                sign = chunk[further]
                if sign in _HIDES and node and not (hidden and (gaps or further > place)):
                    todo.append((node, ~further, path, gaps, hidden))
                if _WAYS[sign] and _spell(chunk, further, step, todo):
                    break
    return found, most - steps


def _spell(chunk: str, place: int, step: _Step, todo: list[_Step]) -> bool:
    """Add how it goes on if there is a letter at the place; tell whether it can only be one."""
    node, until, path, gaps, hidden = step
    character = chunk[place]
    gap = path is not None and until < place
    for written, letter, way in _WAYS[character]:
        size = len(written)
        if size > 1 and not chunk.startswith(written, place):
            continue
        end = place + size
        if path and letter == path[1] and size == 1 and (way != MISTAKEN or character == chunk[place - 1]):  # once more
            todo.append((node, end, (*path[:4], end), gaps, hidden))
        if letter in node:
            todo.append((node[letter], end, (path, letter, way, place, end), gaps + gap, hidden))
    return character not in _APART


def _hide(chunk: str, step: _Step, todo: list[_Step]) -> None:
    """Add how it goes on if the signs at the place hide letters: as many, or, of several stars, one more or less."""
    node, turned, path, gaps, hidden = step
    place = ~turned
    gap = path is not None and path[-1] < place
    stop = place + 1
    hyphens = chunk[place] in HYPHENS
    most = place + (1 if gaps or gap else 2 if hyphens else _MAX_HIDDEN)
    while stop < most and chunk[stop : stop + 1] in _HIDES and (chunk[stop] in HYPHENS) == hyphens:
        stop += 1
    for end in range(place + 1, stop + 1):
        following = chunk[end : end + 1]
        if end < stop and not _WAYS[following]:
            continue
        if following in _APART:
            following = chunk[end : end + _MAX_GAP].strip(following)[:1] or following
        letters = {letter for _, letter, way in _WAYS[following] if way != MISTAKEN} if following else set()
        if not following.isalpha() or chunk[end:].rstrip(string.punctuation) in ENDINGS:
            letters.add("")
        signs = end - place
        stars = signs > 1 and chunk[place] == "*" == chunk[end - 1]
        for depth in (signs - 1, signs, signs + 1) if stars else (signs,):
            below = node.below(depth)
            for letter in letters:
                for reached in below.get(letter, ()):
                    longer: _Path | None = path
                    for _ in range(depth):
                        longer = (longer, "", HIDDEN, place, end)
                    todo.append((reached, end, longer, gaps + gap, hidden + depth))


def _ending(chunk: str, stop: int, *, apart: bool) -> int:
    """Return where the word ends, with an ending that is kept apart or disguised, too: "f.u.c.k.e.r", "fuck3r", "sh!tt!ng"."""
    rest = (_APART_TAIL if apart else _TAIL).match(chunk, stop)
    if not rest:
        return stop
    letters = "".join(filter(str.isalpha, rest[0].translate(_TAIL_LETTERS)))
    return rest.end() if letters in ENDINGS or letters.removeprefix(chunk[stop - 1]) in ENDINGS else stop


def _meant(chunk: str, node: Node, path: _Path | None) -> Word | None:
    letters: list[Letter] = []
    while path:
        path, letter, way, start, stop = path
        letters.append(Letter(letter, way, start, stop))
    letters.reverse()
    return next((word for word, single in node.words if is_meant(chunk, word, single, letters)), None)
