"""Group commit of verdicts: many worker threads hand them over, one thread writes them in batches.

While Redis is away the verdicts are held, and written when it is back; nothing new is claimed meanwhile,
so what is held stays bounded by what was running.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from runtime.ledger.ledger import Ledger
from runtime.ledger.records import Verdict
from runtime.ledger.wire import LedgerUnavailableError

#: Bounds of one script call: Redis serves nobody else while it runs.
MAX_BATCH = 256
MAX_BATCH_BYTES = 8 * 2**20

#: Called with each written batch: verdicts, and for each the outcome or "stale". Runs on the committer's thread.
Written = Callable[[Sequence[Verdict], Sequence[str]], None]


class Committer:
    """Writes verdicts. `commit` returns at once; `flush` waits for all."""

    def __init__(self, ledger: Ledger, written: Written) -> None:
        self._ledger = ledger
        self._written = written
        self._log = structlog.get_logger("oncue.committer")
        self._changed = threading.Condition()
        self._pending: list[Verdict] = []
        self._writing = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def commit(self, verdict: Verdict) -> None:
        """Hand over a verdict to be written with the next batch."""
        with self._changed:
            self._pending.append(verdict)
            if not self._writing:
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all verdicts are written; False when they are not after `timeout_s` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending and not self._writing, timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what is left and end the thread; False when Redis did not take it in time."""
        written = self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if written:
            self._thread.join(timeout_s)
        return written

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                if self._closing and not self._pending:
                    return
                batch = _take(self._pending)
                self._writing = len(batch)
            queues: dict[str, list[Verdict]] = defaultdict(list)
            for verdict in batch:
                queues[verdict.claim.queue].append(verdict)
            for queue, verdicts in queues.items():
                self._write(queue, verdicts)
            with self._changed:
                self._writing = 0
                self._changed.notify_all()

    def _write(self, queue: str, verdicts: list[Verdict]) -> None:
        pause_s = 0.05
        while True:
            try:
                outcomes = self._ledger.finish(queue, verdicts)
                break
            except LedgerUnavailableError as error:
                self._log.warning("outcomes are held until Redis takes them", count=len(verdicts), reason=str(error))
                if self._closing:
                    return
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, 1.0)
            except Exception as error:  # noqa: BLE001  # nobody starts this thread again
                if len(verdicts) > 1:  # find the one that Redis cannot take; the others must not suffer
                    for verdict in verdicts:
                        self._write(queue, [verdict])
                    return
                self._log.error("an outcome cannot be written", id=verdicts[0].claim.id, reason=str(error))
                outcomes = ["stale"]
                break
        try:
            self._written(verdicts, outcomes)
        except Exception:  # noqa: BLE001  # what is told of these must not end the thread that finishes the others
            self._log.exception("outcomes are written, but could not be told", count=len(verdicts))


def _take(pending: list[Verdict]) -> list[Verdict]:
    count, size = 0, 0
    while count < min(len(pending), MAX_BATCH) and (count == 0 or size + pending[count].size <= MAX_BATCH_BYTES):
        size += pending[count].size
        count += 1
    batch = pending[:count]
    del pending[:count]
    return batch
