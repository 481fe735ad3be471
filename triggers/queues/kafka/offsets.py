"""Which offset of a partition may be committed: the one behind the longest run of finished messages from the start."""

from __future__ import annotations

from collections import deque


class Offsets:
    """The offsets of one assigned partition. Gaps between offsets are fine: compaction and transactions make them."""

    def __init__(self) -> None:
        self._under_way: deque[int] = deque()
        self._finished: set[int] = set()
        self._reached: int | None = None
        self._is_new = False

    @property
    def count(self) -> int:
        """How many messages have been begun and cannot be committed yet."""
        return len(self._under_way)

    def begun(self, offset: int) -> None:
        """Note a message, in the order of the partition."""
        self._under_way.append(offset)

    def finished(self, offset: int) -> None:
        """Note that a message needs no more, in any order."""
        self._finished.add(offset)
        while self._under_way and self._under_way[0] in self._finished:
            last = self._under_way.popleft()
            self._finished.discard(last)
            self._reached, self._is_new = last + 1, True

    def take(self) -> int | None:
        """Return the offset to commit; None when there is nothing new since the last time."""
        if not self._is_new:
            return None
        self._is_new = False
        return self._reached

    def refused(self) -> None:
        """A commit was refused: have `take` return the highest offset so far, whichever of several commits it was."""
        self._is_new = True
