"""The web process and the workers with clocks of their own, each an hour off: only the clock of Redis counts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from runtime.ledger.keys import QueueKeys
from tests.chaos.checking import read_journal, read_records
from tests.chaos.system import STATE, Process, System

HOUR_S = 3600
LEASE_S = 0.5


def start(system: System, offset_s: float, *words: str) -> Process:
    """Start a process of the system with a clock that is off."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("elsewhen.py")), str(offset_s), *words]
    return Process(" ".join(words), command, system.environment(), system.folder / f"{'-'.join(words)}.log")


def test_clocks_that_are_an_hour_off(tmp_path: Path, eventually: Callable[..., object]) -> None:
    """What is delayed, by a span or to a time, starts when it is due, and workers that disagree keep their leases."""
    with System(tmp_path / "system", lease_s=LEASE_S) as system, system.redis() as connection:
        system.web = start(system, HOUR_S, "web")
        system.workers = [start(system, HOUR_S, "worker", "0"), start(system, -HOUR_S, "worker", "1")]
        system.await_web()
        path = f"http://127.0.0.1:{system.port}/v1/functions/work"
        eventually(lambda: connection.exists(QueueKeys("default").stream))
        at = datetime.now(UTC) + timedelta(seconds=1.2)
        # Each takes longer than two leases.
        queries = [{}, {"delay": "1s"}, {"at": at.isoformat()}]
        ids = [httpx.post(path, params=query, json={"ms": int(LEASE_S * 2400)}).json()["id"] for query in queries]
        eventually(lambda: all(record and record.is_final for record in read_records(connection, ids).values()), 20)
        records = read_records(connection, ids)
        began = {line.id: line.at for line in read_journal(system.data / STATE / "journal.jsonl") if line.what == "start"}
        for invocation_id in ids:
            record = records[invocation_id]
            assert record is not None
            assert (record.status, record.attempt, record.lost) == ("succeeded", 1, 0)
            assert 0 <= began[invocation_id] - record.due_ms / 1000 < 2
            assert abs(record.ended_ms / 1000 - time.time()) < 60
        delayed, timed = records[ids[1]], records[ids[2]]
        assert delayed.due_ms - delayed.accepted_ms == 1000
        assert timed.due_ms == int(at.timestamp() * 1000)
        assert "Traceback" not in "".join(system.logs().values())
