"""Pauses between tries to reach what is away: growing, with jitter, so that many listeners do not come back as one."""

from __future__ import annotations

import random


class Backoff:
    """The pauses of one thing that is tried again and again."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s = first_s

    def pause_s(self) -> float:
        """Return the next pause: from half to all of the current length, which then doubles."""
        pause = self._next_s * random.uniform(0.5, 1.0)  # noqa: S311  # spreads listeners, guards nothing
        self._next_s = min(self._next_s * 2, self._longest_s)
        return pause

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._next_s = self._first_s
