"""Benchmarks: OnCue beside stock Dramatiq, in one run, alternating, as medians and ratios.

    ./just bench [--rounds 3] [--seconds 5] [accept edge execute idle wait signatures child memory
                                                functions deploy queues]

They are no tests: nothing fails when a figure is low. But a lost message is no figure: `queues` fails then.
"""

from __future__ import annotations

import argparse
import http.client
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import deploys
import httpx
import psutil
import shipped
from contestants import HERE, Contestant, OnCue, Stock, running
from figures import Figures, table
from signatures import checks_us

from runtime.authoring.inspection import inspect
from runtime.execution.pool import Call, ChildPool

CONNECTIONS = 64
#: Messages that wait when the workers start.
BACKLOG = 40_000


def accept(contestants: list[Contestant], rounds: int, seconds: float) -> None:
    """Requests accepted a second at 64 connections; no worker runs."""
    rates: Figures = {}
    tails: Figures = {}
    for _ in range(rounds):
        for contestant in contestants:
            contestant.flush()
            with contestant.web():
                contestant.load("noop", CONNECTIONS, 1)
                figures = contestant.load("noop", CONNECTIONS, seconds)
            rates.setdefault(contestant.name, []).append(figures["rate"])
            tails.setdefault(contestant.name, []).append(figures["p99_ms"])
    table("accept, 64 connections, fsync always", "requests/s", rates)
    table("accept, latency p99", "ms", tails, lower_is_better=True)


def edge(contestants: list[Contestant], rounds: int, seconds: float) -> None:
    """What a key, a rate limit, an idempotency key and the audit leave of the plain accept rate."""
    (oncue,) = (contestant for contestant in contestants if isinstance(contestant, OnCue))
    rates: Figures = {"guarded": [], "plain": []}
    for _ in range(rounds):
        for name, figures in sorted(rates.items(), reverse=True):
            oncue.flush()
            headers = []
            if name == "guarded":
                headers = [f"Authorization: Bearer {oncue.make_key()}", "Idempotency-Key: bench-{n}"]
            with oncue.web():
                oncue.load("noop", CONNECTIONS, 1, *(header.replace("bench-", "warm-") for header in headers))
                figures.append(oncue.load("noop", CONNECTIONS, seconds, *headers)["rate"])
    table("accept with key, rate limit, idempotency key and audit, beside plain accept", "requests/s", rates)


def execute(contestants: list[Contestant], rounds: int, _: float) -> None:
    """No-op functions run a second, results stored, from a backlog; start-up is left out."""
    rates: Figures = {}
    for _ in range(rounds):
        for contestant in contestants:
            contestant.flush()
            with contestant.web():
                sent = 0
                while sent < BACKLOG:
                    figures = contestant.load("noop", CONNECTIONS, 2)
                    sent += int(figures["rate"] * 2)
            before = contestant.completed()
            with contestant.worker():
                rates.setdefault(contestant.name, []).append(_drain(contestant, before))
    table(f"execute no-op functions with results, backlog of {BACKLOG:,} and more", "invocations/s", rates)


def _drain(contestant: Contestant, before: int) -> float:
    """Return the rate between the first quarter, in which processes start and warm up, and the whole of a backlog's worth."""
    first = BACKLOG // 4
    while (done := contestant.completed() - before) < first:
        time.sleep(0.005)
    begun = time.perf_counter()
    begun_at = done
    while (done := contestant.completed() - before) < BACKLOG:
        time.sleep(0.005)
    return (done - begun_at) / (time.perf_counter() - begun)


def idle(contestants: list[Contestant], rounds: int, _: float) -> None:
    """From before the request to the first line of the handler, one at a time on an idle system."""
    medians: Figures = {}
    for _ in range(rounds):
        for contestant in contestants:
            contestant.flush()
            with contestant.web(), contestant.worker(), httpx.Client() as client:
                waits = [_one(contestant, client, pause) for pause in range(25)]
            medians.setdefault(contestant.name, []).append(statistics.median(waits[5:]) * 1000)
    table("idle: request sent -> handler starts, p50", "ms", medians, lower_is_better=True)


def _one(contestant: Contestant, client: httpx.Client, number: int) -> float:
    time.sleep(0.05 + number % 7 * 0.031)  # no rhythm that a poll could fall in with
    sent = time.time()
    identity = contestant.post(client, "started")
    while (started := contestant.result(identity)) is None:
        time.sleep(0.002)
    return started - sent


def wait(contestants: list[Contestant], rounds: int, _: float) -> None:
    """`Prefer: wait` of a no-op function: from the request to the result in its answer, one at a time on an idle system."""
    (oncue,) = (contestant for contestant in contestants if isinstance(contestant, OnCue))
    medians: Figures = {"p50": [], "p99": []}
    for _round in range(rounds):
        oncue.flush()
        with oncue.web(), oncue.worker():
            client = http.client.HTTPConnection("127.0.0.1", oncue.port, timeout=20)
            laps = sorted([_awaited(client, oncue.path("noop"), number) for number in range(220)][20:])
            client.close()
        medians["p50"].append(laps[len(laps) // 2])
        medians["p99"].append(laps[int(len(laps) * 0.99)])
    for name, figures in medians.items():
        table(f"idle: Prefer: wait, request sent -> result read, {name}", "ms", {"oncue": figures}, lower_is_better=True)


def _awaited(client: http.client.HTTPConnection, path: str, number: int) -> float:
    time.sleep(0.01 + number % 7 * 0.003)  # no rhythm that a poll could fall in with
    sent = time.perf_counter()
    client.request("POST", path, b"{}", {"Content-Type": "application/json", "Prefer": "wait=10"})
    answer = client.getresponse()
    answer.read()
    took_ms = (time.perf_counter() - sent) * 1000
    assert answer.status == 200, answer.status
    return took_ms


def signatures(_: list[Contestant], rounds: int, __: float) -> None:
    """What checking a webhook's signature adds to its accept, for a body of 1 KB."""
    medians: Figures = {}
    for _round in range(rounds):
        for scheme, times in checks_us().items():
            medians.setdefault(scheme, []).append(statistics.median(times))
    table("a signature over 1 KB, checked, p50", "µs", medians, lower_is_better=True)


def child(_: list[Contestant], rounds: int, __: float) -> None:
    """What a warm child adds to a call, and how long the first one takes."""
    folder = HERE / "functions" / "noop"
    inspect(folder)  # byte code is written, as after any deploy
    cold, warm = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as state:
            pool = ChildPool(folder=folder, name="noop", state_dir=Path(state), secret=lambda _: None)
            begun = time.perf_counter()
            failure = pool.warm()
            assert failure is None, failure
            cold.append((time.perf_counter() - begun) * 1000)
            event = b'{"id":"1","source":"bench","type":"bench","time":"2026-01-01T00:00:00+00:00","data":null}'
            call = Call("1", "noop", 1, event, None, "1", 30, 512 * 10**6, {}, ())
            laps = []
            for _ in range(3000):
                begun = time.perf_counter()
                pool.call(call, lambda _: None)
                laps.append(time.perf_counter() - begun)
            warm.append(statistics.median(laps) * 1e6)
            pool.close()
    table("first cold child", "ms", {"oncue": cold}, lower_is_better=True)
    table("a warm child adds to a call, p50", "µs", {"oncue": warm}, lower_is_better=True)


def memory(_: list[Contestant], __: int, ___: float) -> None:
    """The whole of `oncue up` at rest, all processes."""
    before = set(psutil.Process().children())
    with running("up", functions=HERE / "functions"):
        time.sleep(3)
        (up,) = set(psutil.Process().children()) - before
        pss = sum(process.memory_full_info().pss for process in (up, *up.children(recursive=True)))
    table("memory of `oncue up` at rest (PSS of all processes)", "MB", {"oncue": [pss / 1e6]}, lower_is_better=True)


def functions(_: list[Contestant], rounds: int, __: float) -> None:
    """The functions of functions/, in time and memory; a thumbnail beside Pillow's own best."""
    shipped.measure(rounds)


def deploy(_: list[Contestant], __: int, ___: float) -> None:
    """From the start of a deploy, a rollback or a save to the first caller who meets what it says."""
    deploys.measure()


def queues(_: list[Contestant], __: int, ___: float) -> None:
    """Messages a second from each queue source into the ledger; 20,000 of them wait when the listener starts.

    Ends the run with exit code 1 when one of them was lost or came twice.
    """
    sys.stdout.flush()
    done = subprocess.run([sys.executable, "-m", "tests.queues.drain"], cwd=HERE.parents[1], check=False)
    if done.returncode:
        sys.exit(done.returncode)


BENCHES: dict[str, Callable[[list[Contestant], int, float], None]] = {
    "accept": accept,
    "edge": edge,
    "execute": execute,
    "idle": idle,
    "wait": wait,
    "signatures": signatures,
    "child": child,
    "memory": memory,
    "functions": functions,
    "deploy": deploy,
    "queues": queues,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="just bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benches", nargs="*", metavar="bench", help=f"any of {', '.join(BENCHES)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?"
    )
    print(
        f"{os.cpu_count()} cores ({cpu}), Python {platform.python_version()}, {arguments.rounds} rounds, medians (least – most)"
    )
    contestants: list[Contestant] = [OnCue(), Stock()]
    try:
        for name in arguments.benches or BENCHES:
            BENCHES[name](contestants, arguments.rounds, arguments.seconds)
    finally:
        for contestant in contestants:
            contestant.close()


if __name__ == "__main__":
    main()
