"""Workers die, freeze and are asked to stop."""

from __future__ import annotations

import signal
import time

from tests.chaos.checking import read_records
from tests.chaos.stage import Stage

MIX = {"work": (0.8, {"ms": 300}), "chain": (0.1, {"ms": 100}), "hopeless": (0.1, {"ms": 20})}


#: Before which of the good invocations a child breaks, and how.
BREAKS = {0: "segfault", 50: "exit", 100: "memory"}

#: Two leases, by default.
RECOVERY_S = 10.0


def worker_killed(stage: Stage) -> None:
    """kill -9 of a random worker every 3 s: drained within 30 s of the last kill, recovery p95 within 10 s."""
    with stage.system() as system:
        system.start_web()
        system.start_workers(3)
        with stage.load(rate=15, **MIX):
            ends = time.monotonic() + stage.span(45, 9)
            while time.monotonic() < ends:
                time.sleep(3)
                worker = stage.random.choice(system.workers)
                stage.kill(worker)
                worker.start()
        stage.drain(30)
        findings = stage.finish()
        slowest = findings.percentile(0.95)
        stage.expect(slowest is not None and slowest <= RECOVERY_S, f"recovery p95 is {slowest} s")


def worker_frozen(stage: Stage) -> None:
    """SIGSTOP of a worker for 3 leases, then SIGCONT: its work runs elsewhere, and what it still says is refused."""
    with stage.system() as system:
        system.start_web()
        frozen, _ = system.start_workers(2)
        with stage.load(rate=15, work=(0.9, {"ms": 400}), chain=(0.1, {"ms": 100})):
            for _ in range(int(stage.span(3, 1))):
                time.sleep(1)
                stage.until(lambda: stage.runs_on(frozen.pid), 10, "work for the worker that freezes")
                frozen.signal(signal.SIGSTOP)
                time.sleep(3 * stage.lease_s)
                frozen.signal(signal.SIGCONT)
                time.sleep(1)
        stage.drain(30)
        findings = stage.finish()
        stage.expect(findings.repeats >= 1, "nothing that the frozen worker held ran again")


def worker_stopped(stage: Stage) -> None:
    """SIGTERM with 10,000 queued: it stops within the longest handler and 2 s, and the rest runs later, each once."""
    longest_s = 3.0
    count = int(stage.span(10_000, 2_000))
    with stage.system() as system:
        system.start_web()
        client = stage.client()
        for n in range(4):
            client.invoke("work", {"ms": int(longest_s * 1000)}, f"long-{n}")
        stage.flood(count, ms=0)
        (worker,) = system.start_workers(1)
        stage.until(lambda: any(line.what == "start" for line in stage.journal()), 20, "the first start")
        began = time.monotonic()
        worker.signal(signal.SIGTERM)
        stage.expect(worker.wait(60) == 0, "the worker did not end well")
        took = time.monotonic() - began
        stage.note(f"stopped after {took:.1f} s, handlers of {longest_s:g} s running")
        stage.expect(took <= longest_s + 2, f"the worker took {took:.1f} s to stop")
        worker.start()
        stage.drain(90)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} invocations ran again")


def workers_rolled(stage: Stage) -> None:
    """SIGTERM of one worker after the other under load, as in a deploy: no attempt is cut short, none runs again."""
    with stage.system() as system:
        system.start_web()
        system.start_workers(3)
        with stage.load(rate=40, work=(0.8, {"ms": 100}), chain=(0.2, {"ms": 100})):
            for n in range(int(stage.span(15, 4))):
                time.sleep(1)
                worker = system.workers[n % 3]
                worker.signal(signal.SIGTERM)
                stage.expect(worker.wait(20) == 0, "a worker did not end well")
                worker.start()
        stage.drain(30)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} invocations ran again")


def everything_killed(stage: Stage) -> None:
    """kill -9 of the web process, every worker and Redis at one moment: all goes on where it was."""
    with stage.system() as system:
        system.start_web()
        system.start_workers(2)
        with stage.load(rate=30, **MIX):
            for _ in range(int(stage.span(4, 1))):
                time.sleep(stage.random.uniform(2, 4) + 2 * stage.lease_s)
                for worker in system.workers:
                    stage.kill(worker)
                assert system.web is not None
                system.web.kill()
                system.kill_server()
                system.start_server()
                for process in system.processes:
                    process.start()
        stage.drain(30)
        stage.finish()


def children_broken(stage: Stage) -> None:
    """Children that segfault, exit, take 2 GB and spin in C among 200 good ones: 4 failed, 200 succeeded in one attempt.

    Who dies is failed after three deaths; who spins, after its retries.
    """
    with stage.system() as system:
        system.start_web()
        system.start_workers(2)
        client = stage.client()
        broken: dict[str, str | None] = {}
        for n in range(200):
            if n in BREAKS:
                broken[BREAKS[n]] = client.invoke("breaks", {"how": BREAKS[n]}, BREAKS[n])
            if n == 150:
                client.invoke("spins", {}, "spins")
            client.invoke("work", {"ms": 20}, f"good-{n}")
        stage.drain(90)
        findings = stage.finish()
        stage.expect(
            (findings.succeeded, findings.failed) == (200, 4), f"{findings.succeeded} succeeded, {findings.failed} failed"
        )
        starts = [line for line in stage.journal() if line.what == "start"]
        with system.redis() as connection:
            records = read_records(connection, [invocation_id for invocation_id in broken.values() if invocation_id])
        for how, invocation_id in broken.items():
            record = records.get(invocation_id or "")
            counts = (record.deaths if record else None, sum(line.id == invocation_id for line in starts))
            stage.expect(counts == (3, 3), f"who ends by {how} died and started {counts} times")
        good = {line.id: line.attempt for line in starts if line.function == "work"}
        stage.expect(max(good.values()) == 1, "a neighbour was charged with an attempt")
