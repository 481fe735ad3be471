"""Right-to-left text: joins Arabic letters, and puts a line into the order in which it is drawn."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arabic_reshaper import ArabicReshaper

_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_CLOSING = {")": "(", "]": "[", "}": "{", "»": "«", "›": "‹"}
_MIRRORED = str.maketrans("()[]{}«»‹›", ")(][}{»«›‹")
#: rare pairs that stand in for the brackets of a line, each for one pair, while it is reordered
_STANDINS = [(chr(code), chr(code + 1)) for code in range(0x2983, 0x2998, 2)]


def shaped(text: str) -> str:
    """Join Arabic letters; other text stays as it is."""
    return _reshaper().reshape(text) if not text.isascii() and _RIGHT_TO_LEFT.search(text) else text


def visual(line: str) -> str:
    """Reorder a line for drawing from left to right (Unicode Bidirectional Algorithm, UAX #9).

    python-bidi reorders but leaves out rule L4, the mirroring of brackets. Where a pair came out swapped, it was
    in right-to-left text and each half needs the other's shape.
    """
    if line.isascii() or not _RIGHT_TO_LEFT.search(line):
        return line
    from bidi import get_base_level, get_display  # only such text pays for it

    chars, opened = list(line), []
    used: dict[tuple[str, str], tuple[str, str]] = {}
    for index, char in enumerate(line):
        if char in _CLOSING.values():
            opened.append(index)
        elif char in _CLOSING and opened and line[opened[-1]] == _CLOSING[char] and len(used) < len(_STANDINS):
            start, pair = opened.pop(), _STANDINS[len(used)]
            used[pair] = line[start], char
            chars[start], chars[index] = pair
    drawn = get_display("".join(chars))
    if get_base_level(line):
        drawn = drawn.translate(_MIRRORED)  # halves whose partner is on another line
    for (left, right), (opening, closing) in used.items():
        swapped = drawn.index(right) < drawn.index(left)
        drawn = drawn.replace(left, closing if swapped else opening).replace(right, opening if swapped else closing)
    return drawn


@lru_cache(maxsize=1)
def _reshaper() -> ArabicReshaper:
    from arabic_reshaper import ArabicReshaper

    # FiraGO has no separate isolated forms; vowel signs are part of the text
    return ArabicReshaper({"use_unshaped_instead_of_isolated": True, "delete_harakat": False})
