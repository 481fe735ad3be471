"""Where a scenario plays: a system, its clients, and what is written down of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.checking import Findings, Line, check, left_over, read_journal, read_records
from tests.chaos.load import Client, ClientLedger, Load
from tests.chaos.system import STATE, System, wait_for

#: A worker that waits for Redis must not spin: the share of one processor it may use meanwhile.
IDLE_SHARE = 0.5

FLOOD_THREADS = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one scenario."""

    name: str
    seed: int
    seconds: float
    findings: Findings
    answers: Counter[str]
    notes: list[str]


class Stage:
    """One playing of a scenario, long (`just chaos`, the default lease) or short (`just test`, a lease of 2 s)."""

    def __init__(self, folder: Path, *, seed: int, is_short: bool, carrier: str = "redis") -> None:
        self.folder = folder
        self.seed = seed
        self.is_short = is_short
        self.carrier = carrier
        self.random = random.Random(seed)
        self.lease_s = 2.0 if is_short else 5.0
        self.notes: list[str] = []
        self.answers: Counter[str] = Counter()
        self.violations: list[str] = []
        self.may_be_open = False
        self.findings = Findings(violations=["the scenario did not come to its end"])
        self._kills: list[tuple[int, float]] = []
        self._clients: list[Client] = []
        folder.mkdir(parents=True)
        self.promises = ClientLedger(folder / "promises")

    def span(self, long_s: float, short_s: float) -> float:
        """Return a duration for this playing."""
        return short_s if self.is_short else long_s

    def system(self, **options: Any) -> System:
        """Return the system under test; enter it to start it."""
        self.under_test = System(self.folder, lease_s=self.lease_s, has_broker=self.carrier == "rabbitmq", **options)
        return self.under_test

    def note(self, words: str) -> None:
        """Keep a figure for the table."""
        self.notes.append(words)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note a violation unless something holds."""
        if not holds:
            self.violations.append(otherwise)

    @contextmanager
    def load(self, rate: float = 40, **mix: tuple[float, dict[str, Any]]) -> Iterator[Load]:
        """Ask for invocations until the block ends; then wait until each has been answered."""
        load = Load(self.under_test.port, self.promises, rate=rate, **(mix or {"work": (1.0, {"ms": 20})}))
        try:
            yield load
        finally:
            load.stop()
            self.answers += load.answers
            self.expect(not load.unanswered, f"{len(load.unanswered)} requests were never answered")

    def flood(self, count: int, function: str = "work", **data: Any) -> None:
        """Ask for many invocations at once, and wait until each has been answered."""

        def ask(number: int) -> None:
            client = Client(self.under_test.port, self.promises, self.answers)
            for n in range(number, count, FLOOD_THREADS):
                client.invoke(function, data, f"flood-{n}")
            client.close()

        with ThreadPoolExecutor(FLOOD_THREADS) as threads:
            list(threads.map(ask, range(FLOOD_THREADS)))

    def client(self) -> Client:
        """Return a client for the scenario's own thread."""
        self._clients.append(Client(self.under_test.port, self.promises, self.answers))
        return self._clients[-1]

    def kill(self, worker: Any) -> None:
        """kill -9 a worker, and measure when what it ran starts again."""
        self._kills.append((worker.kill(), time.time()))

    def journal(self) -> list[Line]:
        return read_journal(self.under_test.data / STATE / "journal.jsonl")

    def runs_on(self, worker: int) -> bool:
        """Tell whether an attempt has started on the worker of this pid, and has had no effect yet."""
        lines = [line for line in self.journal() if line.worker == worker]
        started, over = ({(line.id, line.attempt) for line in lines if line.what == what} for what in ("start", "effect"))
        return bool(started - over)

    def until(self, condition: Callable[[], bool], within_s: float, what: str) -> float | None:
        """Wait for a condition; note a violation when it does not come. Return the seconds it took."""
        try:
            return wait_for(condition, within_s, what)
        except TimeoutError as error:
            self.violations.append(str(error))
            return None

    def drain(self, within_s: float) -> float | None:
        """Wait until everything promised is final and the queues are empty; return the seconds it took."""
        waiting = {invocation_id for invocation_id, _, _ in self.promises.read()}
        with self.under_test.redis() as connection:

            def is_done() -> bool:
                records = read_records(connection, sorted(waiting))
                waiting.difference_update(name for name, record in records.items() if record is None or record.is_final)
                return not waiting and not left_over(connection)

            took = self.until(is_done, within_s, f"everything to end ({len(waiting)} promised)")
            if took is not None:
                self.note(f"drained {took:.1f} s after the load")
            return took

    def finish(self) -> Findings:
        """Check everything while the system still runs; the last act of a scenario."""
        journal = self.journal()
        with self.under_test.redis() as connection:
            self.findings = check(connection, self.promises.read(), journal, may_be_open=self.may_be_open, kills=self._kills)
        for process, text in self.under_test.logs().items():
            if "Traceback" in text:
                self.findings.violations.append(f"{process} wrote a traceback: {text[text.index('Traceback') :][:1500]}")
        return self.findings

    def outcome(self, name: str, seconds: float) -> Outcome:
        """Return what came of it, once it is over."""
        self.promises.close()
        for client in self._clients:
            client.close()
        self.findings.violations[:0] = self.violations
        return Outcome(name, self.seed, seconds, self.findings, self.answers, self.notes)
