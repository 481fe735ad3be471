"""Too much, and rubbish."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import redis

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import QueueKeys, new_id
from runtime.ledger.records import Acceptance
from runtime.ledger.store import ResultStore
from tests.chaos.stage import Stage
from tests.chaos.system import System

KEYS = QueueKeys("default")

#: What a worker's memory may grow by under any number of delayed invocations.
GROWTH_BYTES = 5 * 2**20

#: How late a delayed invocation may start where nothing else runs.
EXACT_S = 0.05


def rubbish(stage: Stage) -> None:
    """Garbage, unknown versions and bodies of 1 MB put into the stream by hand: set aside with a reason, neighbours unharmed."""
    with stage.system() as system:
        system.start_web()
        system.start_workers(2)
        with stage.load(rate=40, work=(0.9, {"ms": 20}), chain=(0.1, {"ms": 20})), system.redis() as connection:
            for n in range(20):
                put = put_rubbish(connection, n)
                time.sleep(0.1)
        with system.redis() as connection:
            stage.until(lambda: connection.xlen(KEYS.parked) >= 20 * put, 20, "the rubbish to be set aside")
            parked: Any = connection.xrange(KEYS.parked)
            size: Any = connection.memory_usage(KEYS.parked)
            stage.expect(all(fields[b"reason"] for _, fields in parked), "something was set aside without a reason")
            stage.note(f"{len(parked)} set aside, {size / 2**20:.1f} MB kept of them")
            stage.expect(size < 10 * 2**20, f"what was set aside takes {size / 2**20:.0f} MB")
        stage.drain(30)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} invocations ran again")


def put_rubbish(connection: redis.Redis, n: int) -> int:
    """Put what is no invocation into the stream; return how many entries."""
    body = bytes(range(256)) * 4096
    broken = new_id("default")
    connection.hset(KEYS.record(broken), mapping={"status": "queued"})
    entries: list[dict[Any, Any]] = [
        {"id": new_id("default")},
        {"id": ""},
        {"id": body},
        {"body": body},
        {"v": "99", "id": new_id("default")},
        {b"\xff\xfe": b"\x00" * n},
        {"id": "not an id"},
        {"id": broken},
    ]
    for entry in entries:
        connection.xadd(KEYS.stream, entry)
    return len(entries)


def delayed(stage: Stage) -> None:
    """100,000 delayed invocations: a worker's memory stays flat, and what is due meanwhile starts on time."""
    count = int(stage.span(100_000, 10_000))
    with stage.system() as system:
        system.start_web()
        (worker,) = system.start_workers(1)
        client = stage.client()
        for n in range(20):
            client.invoke("work", {"ms": 0}, f"warm-{n}")
        stage.drain(20)
        before = worker.memory_bytes()
        asyncio.run(accept_delayed(system, count))
        asked = {}
        for n in range(20):
            invocation_id = client.invoke("work", {"ms": 0}, f"due-{n}", delay_s=1)
            asked[invocation_id] = time.time() + 1
        stage.until(lambda: asked.keys() <= {line.id for line in stage.journal()}, 20, "what is due to start")
        late = [line.at - asked[line.id] for line in stage.journal() if line.what == "start" and line.id in asked]
        growth = worker.memory_bytes() - before
        stage.note(
            f"{count:,} delayed: worker memory {growth / 2**20:+.1f} MB; what was due started {max(late) * 1000:.0f} ms late at most"
        )
        middle = sorted(late)[len(late) // 2]
        stage.expect(middle < EXACT_S, f"what was due started {middle * 1000:.0f} ms late")
        stage.expect(growth < GROWTH_BYTES, f"the worker grew by {growth / 2**20:.0f} MB")
        with system.redis() as connection:
            stage.expect(connection.zcard(KEYS.due) == count, f"{connection.zcard(KEYS.due)} of {count} wait")
            connection.delete(KEYS.due)
        stage.finish()


async def accept_delayed(system: System, count: int) -> None:
    """Accept as the edge does, for a day on which nobody will look."""
    with system.redis() as connection:
        known: Any = next(connection.scan_iter(KEYS.record("*")))
        version: Any = connection.hget(known, "version")
    ledger = AsyncLedger(system.server.url, ResultStore(f"file://{system.data / 'store'}"))
    for _ in range(0, count, 1000):
        await asyncio.gather(
            *(
                ledger.accept(
                    Acceptance(
                        id=new_id("default"),
                        queue="default",
                        function="work",
                        version=version.decode(),
                        event=b'{"id":"1","source":"chaos","type":"delayed","time":"2026-01-01T00:00:00Z","data":{}}',
                        delay_s=86400,
                    )
                )
                for _ in range(1000)
            )
        )
    await ledger.close()
