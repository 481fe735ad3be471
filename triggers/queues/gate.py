"""`pause_above=`: lets through no more than the function's queue has room for."""

from __future__ import annotations

import asyncio
import time

from triggers.queues.accepting import Accepting

#: Seconds between two looks at the depth of a queue that is full.
LOOK_S = 0.1


class Gate:
    """The room in one function's queue, as one source sees it.

    Room is counted down as messages pass, and looked up again when it is used up: so one listener never goes above the
    bound, and several together exceed it by what the others let through between two looks.
    """

    def __init__(self, accepting: Accepting, most: int | None) -> None:
        self._accepting = accepting
        self._most = most
        self._room = 0
        #: passed, and not yet in the queue
        self._passing = 0
        self._looking = asyncio.Lock()
        self._shut_since: float | None = None

    @property
    def shut_s(self) -> float:
        """For how many seconds the queue has been full; 0 when it is not."""
        return 0.0 if self._shut_since is None else time.monotonic() - self._shut_since

    async def enter(self, queue: str) -> None:
        """Wait until the queue has room for one more."""
        if self._most is None:
            return
        if self._room == 0:
            async with self._looking:
                while self._room == 0:
                    await self._look(self._most, queue)
        self._room -= 1
        self._passing += 1

    def leave(self) -> None:
        """What passed is in the queue, or will not be."""
        if self._most is not None:
            self._passing -= 1

    async def _look(self, most: int, queue: str) -> None:
        # Counted before the depth is: what arrives in the queue meanwhile is then counted twice rather than never.
        passing = self._passing
        self._room = max(0, most - await self._accepting.depth(queue) - passing)
        if self._room:
            self._shut_since = None
            return
        if self._shut_since is None:
            self._shut_since = time.monotonic()
        await asyncio.sleep(LOOK_S)
