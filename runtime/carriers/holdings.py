"""What a worker process holds of one queue: claims that wait for a thread, that run, and whose verdict is to be written.

A claim is taken when it is fetched. To keep every thread busy a few are fetched ahead, but only as many as
will start within some milliseconds. When slow handlers then hold the threads after all, what waits goes back: behind
a slow handler nothing waits for long that another worker could run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from runtime.ledger.records import Claim

#: Fetch ahead what the threads can start within this time, and never more than this many. With fsync always a
#: fetch takes some milliseconds: this keeps threads busy meanwhile.
AHEAD_S = 0.05
MAX_AHEAD = 512

#: Seconds without a start after which what waits goes back.
STUCK_S = 1.0

#: Verdicts that may wait to be written before nothing more is fetched.
MAX_UNWRITTEN = 4096


class Holdings:
    """Thread-safe account of the claims on one queue."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._changed = threading.Condition()
        # An invocation waits once: a newer claim takes the older one's place.
        self._waiting: dict[str, Claim] = {}
        # By id and fence: an attempt that was given up for lost may still run here when the next one is claimed.
        self._running: dict[tuple[str, int], Claim] = {}
        self._unwritten: dict[tuple[str, int], Claim] = {}
        self._stopped = False
        #: moving average of how long a handler takes; unknown handlers count as slow
        self._average_s = 1.0
        #: when a claim last started, or began to wait with nothing before it; monotonic seconds
        self._moved_s = 0.0

    def await_room(self, timeout_s: float) -> int:
        """Wait until more may be fetched; return how many, 0 after `timeout_s` seconds or once stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._room() > 0, timeout_s)
            return self._room()

    def take(self, claims: Sequence[Claim]) -> bool:
        """Hold claims that were fetched; False when that was too late, and they must be handed back."""
        with self._changed:
            if not self._waiting:
                self._moved_s = time.monotonic()
            if not self._stopped:
                self._waiting.update((claim.id, claim) for claim in claims)
            return not self._stopped

    def forget(self, claim: Claim) -> bool:
        """Let go of a claim that has not started and is another worker's by now; False when it has started."""
        with self._changed:
            if self._waiting.get(claim.id) is not claim:
                return False
            del self._waiting[claim.id]
            self._changed.notify()
            return True

    def waiting(self, invocation_id: str) -> Claim | None:
        """Return the claim of an invocation that has not started."""
        with self._changed:
            return self._waiting.get(invocation_id)

    def start(self, claim: Claim) -> bool:
        """Note that a claim starts to run; False when it was handed back or forgotten meanwhile."""
        with self._changed:
            if self._waiting.get(claim.id) is not claim:
                return False
            del self._waiting[claim.id]
            self._running[_key(claim)] = claim
            self._moved_s = time.monotonic()
            return True

    def stuck(self) -> list[Claim]:
        """Return the claims that wait behind handlers which have held every thread for `STUCK_S`; they are no longer held."""
        with self._changed:
            if not self._waiting or time.monotonic() - self._moved_s < STUCK_S:
                return []
            # The average knows only of handlers that ended; nothing is fetched ahead until slow ones are forgotten.
            self._average_s = max(self._average_s, STUCK_S)
            waiting = list(self._waiting.values())
            self._waiting.clear()
            return waiting

    def ended(self, claim: Claim, duration_s: float) -> None:
        """Note that a handler ended, and how long it took; the claim is held until its verdict is written."""
        with self._changed:
            self._average_s += (duration_s - self._average_s) * 0.1
            self._unwritten[_key(claim)] = self._running.pop(_key(claim))
            if self._room() > 0:
                self._changed.notify()

    def release(self, claims: Sequence[Claim]) -> None:
        """Let go of claims whose verdicts are written."""
        with self._changed:
            for claim in claims:
                self._unwritten.pop(_key(claim), None)
            self._changed.notify()

    def stop(self) -> list[Claim]:
        """Fetch nothing more; return the claims that have not started, which are no longer held."""
        with self._changed:
            self._stopped = True
            waiting = list(self._waiting.values())
            self._waiting.clear()
            self._changed.notify_all()
            return waiting

    def all(self) -> list[Claim]:
        """Return all claims that are held."""
        with self._changed:
            return [*self._waiting.values(), *self._running.values(), *self._unwritten.values()]

    def _room(self) -> int:
        if self._stopped or len(self._unwritten) > MAX_UNWRITTEN:
            return 0
        ahead = min(MAX_AHEAD, int(self._threads * AHEAD_S / max(self._average_s, 1e-5)))
        return self._threads + ahead - len(self._waiting) - len(self._running)


def _key(claim: Claim) -> tuple[str, int]:
    return claim.id, claim.fence
