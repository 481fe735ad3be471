"""What no TTL removes: results in the object store whose time is over, and the names of processes that were killed.

Once an hour one worker of all tidies up. A result is deleted when its record says that its time is over. One without a record
is another installation's, perhaps, that uses the same store: it stays for as long as any result may be kept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import redis
import structlog

from runtime.ledger.keys import EVENTS, QUEUES, SWEPT, QueueKeys, queue_of
from runtime.ledger.ledger import Ledger
from runtime.ledger.records import FINAL
from runtime.ledger.store import MAX_RESULT_TTL_S, ResultStore
from runtime.ledger.wire import LedgerUnavailableError, client

#: Seconds between two sweeps of an installation, and between two looks whether one is due.
EVERY_S = 3600
LOOK_S = 60.0

#: Records read in one write.
_PAGE = 500


class Sweeper:
    """Tidies up, on a thread of its own."""

    def __init__(self, ledger: Ledger, results: ResultStore) -> None:
        self._ledger = ledger
        self._results = results
        self._redis = client(ledger.url)
        self._log = structlog.get_logger("oncue.sweeper")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop; a sweep that has begun is waited for by nobody."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                if self._redis.set(SWEPT, "1", nx=True, ex=EVERY_S):
                    self.sweep()
            except (redis.ConnectionError, redis.TimeoutError, LedgerUnavailableError):
                continue  # Redis is away; a sweep that broke off is made up for by the next one, within the hour
            except Exception:  # noqa: BLE001  # nobody starts this thread again; the object store may raise anything
                self._log.exception("what is over could not be tidied up")

    def sweep(self) -> int:
        """Tidy up now; return how many results were deleted."""
        names: Any = self._redis.smembers(QUEUES)
        for queue in sorted({name.decode() for name in names} | {EVENTS}):
            self._ledger.forget_dead_consumers(queue)
        count = 0
        for ages in self._results.ages():
            over = list(self._over(ages))
            self._results.delete(over)
            count += len(over)
        if count:
            self._log.info("results whose time is over were deleted", count=count)
        return count

    def _over(self, ages: dict[str, float]) -> Iterator[str]:
        """Yield the ids whose results nobody can ask for any more."""
        seconds, microseconds = self._redis.time()
        now_ms = seconds * 1000 + microseconds // 1000
        ids = list(ages)
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            with self._redis.pipeline(transaction=False) as pipeline:
                for each in page:
                    pipeline.hmget(QueueKeys(queue_of(each) or "").record(each), "status", "result_until_ms")
                for each, (status, until_ms) in zip(page, pipeline.execute(), strict=True):
                    if status is None:
                        is_over = ages[each] > MAX_RESULT_TTL_S
                    else:  # an attempt that runs may be about to tell of the result it has just written
                        is_over = status.decode() in FINAL and int(until_ms or 0) < now_ms
                    if is_over:
                        yield each
