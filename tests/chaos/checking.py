"""The checker: holds what clients were promised against the ledger's records and the handlers' journal.

accepted ⊆ succeeded ∪ failed ∪ open · no effect without accept · one invocation per key · one effect per key ·
each attempt starts once and ends in the record · every failure has a reason · nothing is left in a queue
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import redis

from runtime.ledger.keys import EVENTS, QUEUES, QueueKeys, queue_of
from runtime.ledger.records import Invocation, read_record


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the handlers' journal."""

    at: float
    what: str
    function: str
    id: str
    attempt: int
    key: str
    worker: int
    of: str | None


@dataclass(slots=True)
class Findings:
    """What the checker counted, and every violation it found."""

    accepted: int = 0
    succeeded: int = 0
    failed: int = 0
    open: int = 0
    lost: int = 0
    #: starts of an invocation beyond the first, where the one before had not ended in a failure that is on record
    repeats: int = 0
    #: seconds from a kill to the next start of what it interrupted
    recoveries: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float | None:
        """Return a percentile of the recoveries, None when nothing was interrupted."""
        ordered = sorted(self.recoveries)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def read_journal(path: Path) -> list[Line]:
    """Return the journal in order of time."""
    if not path.exists():
        return []
    return sorted((Line(**json.loads(line)) for line in path.read_text().splitlines()), key=lambda line: line.at)


def read_records(connection: redis.Redis, ids: Sequence[str]) -> dict[str, Invocation | None]:
    """Return the records of invocations as they are in Redis."""
    found: dict[str, Invocation | None] = {}
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        with connection.pipeline(transaction=False) as pipeline:
            for each in some:
                pipeline.hgetall(QueueKeys(queue_of(each) or "").record(each))
            replies: list[Any] = pipeline.execute()
        for each, fields in zip(some, replies, strict=True):
            found[each] = read_record(each, queue_of(each) or "", fields) if fields else None
    return found


def check(
    connection: redis.Redis,
    promises: Sequence[tuple[str, str, str]],
    journal: Sequence[Line],
    *,
    kills: Sequence[tuple[int, float]] = (),
    may_be_open: bool = False,
) -> Findings:
    """Check everything that must hold once the system has come to rest."""
    findings = Findings()
    records = read_records(connection, sorted({invocation_id for invocation_id, _, _ in promises}))
    _check_promises(findings, promises, records, may_be_open=may_be_open)
    _check_runs(findings, promises, records, journal)
    findings.recoveries = recoveries((record for record in records.values() if record), journal, kills)
    if not may_be_open:
        findings.violations += left_over(connection)
    return findings


def recoveries(records: Iterable[Invocation], journal: Sequence[Line], kills: Sequence[tuple[int, float]]) -> list[float]:
    """Return for each attempt that was lost with its worker the seconds from the `kill -9` until the next attempt began.

    `kills` are pids of workers, and when each was killed.
    """
    killed_at = dict(kills)
    ran_on = {(line.id, line.attempt): line.worker for line in journal if line.what == "start"}
    found = []
    for record in records:
        for lost, following in pairwise(record.attempts):
            if lost["outcome"] != "lost":
                continue
            began_at = lost["started_ms"] / 1000
            worker = ran_on.get((record.id, lost["attempt"]))
            # What was claimed and had not started yet may have been anybody's: the first kill since is the earliest it was.
            at = killed_at.get(worker) if worker else min((at for _, at in kills if at >= began_at), default=None)
            if at is not None:
                found.append(following["started_ms"] / 1000 - at)
    return found


def _check_promises(
    findings: Findings, promises: Iterable[tuple[str, str, str]], records: dict[str, Invocation | None], *, may_be_open: bool
) -> None:
    ids_of: dict[str, set[str]] = defaultdict(set)
    for invocation_id, key, _ in promises:
        ids_of[key].add(invocation_id)
    findings.violations += [f"key {key} was promised as {sorted(ids)}" for key, ids in ids_of.items() if len(ids) > 1]
    findings.accepted = len(records)
    for invocation_id, record in records.items():
        if record is None:
            findings.lost += 1
            findings.violations.append(f"{invocation_id} was accepted and has no record")
        elif record.status == "succeeded":
            findings.succeeded += 1
        elif record.status == "failed":
            findings.failed += 1
            if not record.error or not record.error.get("type") or not record.error.get("message"):
                findings.violations.append(f"{invocation_id} failed without a reason: {record.error!r}")
        else:
            findings.open += 1
            if not may_be_open:
                findings.violations.append(f"{invocation_id} is still {record.status} in attempt {record.attempt}")
        if record is not None and record.is_final and len(record.attempts) != record.attempt:
            findings.violations.append(f"{invocation_id} had {record.attempt} attempts and keeps {len(record.attempts)}")


def _check_runs(
    findings: Findings,
    promises: Iterable[tuple[str, str, str]],
    records: dict[str, Invocation | None],
    journal: Sequence[Line],
) -> None:
    starts: dict[str, list[Line]] = defaultdict(list)
    effects: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    raised = {(line.id, line.attempt) for line in journal if line.what == "raise"}
    ids_of: dict[str, set[str]] = defaultdict(set)
    for line in journal:
        if line.of:
            ids_of[line.of].add(line.id)
        elif line.id not in records:
            findings.violations.append(f"{line.id} ({line.key}) ran and was never promised")
        if line.what == "start":
            starts[line.id].append(line)
        elif line.what == "effect":
            effects[line.id] += 1
            keys[line.key] += 1
    for invocation_id, lines in starts.items():
        attempts = Counter(line.attempt for line in lines)
        findings.violations += [f"attempt {n} of {invocation_id} started twice" for n, count in attempts.items() if count > 1]
        record = records.get(invocation_id)
        gone = {one["attempt"] for one in record.attempts if one["outcome"] == "lost"} if record else set()
        findings.repeats += sum(line.attempt in gone or (invocation_id, line.attempt) not in raised for line in lines[:-1])
    findings.violations += [
        f"{name} had {count} effects"
        for name, count in (effects + keys).items()
        if count > 1 + (name in effects and name in keys)
    ]
    functions = {invocation_id: function for invocation_id, _, function in promises}
    for invocation_id, record in records.items():
        if record is None or record.status != "succeeded":
            continue
        if effects[invocation_id] != 1:
            findings.violations.append(f"{invocation_id} succeeded with {effects[invocation_id]} effects")
        if functions[invocation_id] == "chain":
            for owed in ("invoke", "emit"):
                if (count := len(ids_of[f"{invocation_id} {owed}"])) != 1:
                    findings.violations.append(f"{invocation_id} succeeded, and its {owed} became {count} invocations")


def left_over(connection: redis.Redis) -> list[str]:
    found = []
    names: Any = connection.smembers(QUEUES)
    for queue in sorted({name.decode() for name in names} | {EVENTS}):
        keys = QueueKeys(queue)
        counts: dict[str, Any] = {
            "entries in the stream": connection.xlen(keys.stream),
            "waiting for their time": connection.zcard(keys.due),
            "leases": connection.zcard(f"{keys.base}:leases"),
            "entries in the outbox": connection.xlen(keys.outbox),
        }
        if connection.exists(keys.stream):
            groups: Any = connection.xinfo_groups(keys.stream)
            counts["entries still delivered"] = sum(group["pending"] for group in groups)
        found += [f"queue {queue} has {count} {what}" for what, count in counts.items() if count]
    return found
