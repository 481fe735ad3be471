"""What no TTL removes: results in the object store whose time is over, and the names of processes that were killed.

Once an hour one worker of all tidies up. A result is deleted when its record says that its time is over, or, once the invocation
is over, does not know it: an attempt that was given up for lost has written it. One without a record
is another installation's, perhaps, that uses the same store: it stays for as long as any result may be kept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import redis
import structlog

from runtime.ledger.keys import EVENTS, QUEUES, SWEPT, QueueKeys, queue_of
from runtime.ledger.ledger import Ledger
from runtime.ledger.records import FINAL, ResultInfo
from runtime.ledger.store import MAX_RESULT_TTL_S, ResultStore, name_of
from runtime.ledger.wire import LedgerUnavailableError, client, unavailable

#: Seconds between two sweeps of an installation, and between two looks whether one is due.
EVERY_S = 3600
LOOK_S = 60.0

#: Records read in one write.
_PAGE = 500

_RESULT = msgspec.json.Decoder(ResultInfo).decode


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
            except Exception as error:  # noqa: BLE001  # nobody starts this thread again; the object store may raise anything
                # While Redis is away or full, a sweep that broke off is made up for by the next one, within the hour.
                is_away = isinstance(error, redis.RedisError) and unavailable(error) is not None
                if not is_away and not isinstance(error, LedgerUnavailableError):
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
        """Yield the names of results that nobody can ask for any more."""
        seconds, microseconds = self._redis.time()
        now_ms = seconds * 1000 + microseconds // 1000
        names = list(ages)
        for start in range(0, len(names), _PAGE):
            page = names[start : start + _PAGE]
            with self._redis.pipeline(transaction=False) as pipeline:
                for name in page:
                    id = name.partition(".")[0]
                    pipeline.hmget(QueueKeys(queue_of(id) or "").record(id), "status", "result", "result_until_ms")
                for name, (status, result, until_ms) in zip(page, pipeline.execute(), strict=True):
                    if status is None:
                        is_over = ages[name] > MAX_RESULT_TTL_S
                    elif status.decode() not in FINAL:  # an attempt may be about to tell of the result it has just written
                        is_over = False
                    else:  # what the record does not name is of an attempt that was given up for lost
                        is_own = result is not None and name == name_of(name.partition(".")[0], _RESULT(result).sha256)
                        is_over = not is_own or int(until_ms) < now_ms
                    if is_over:
                        yield name
