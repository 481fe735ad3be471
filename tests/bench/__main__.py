"""Benchmarks: OnCue beside stock Dramatiq, in one run, alternating, as medians and ratios.

    ./just bench [--rounds 3] [--seconds 5] [accept edge execute idle child memory]

They are no tests: nothing fails when a figure is low.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
from contestants import HERE, Contestant, OnCue, Stock, free_port

from runtime.authoring.inspection import inspect
from runtime.execution.pool import Call, ChildPool

CONNECTIONS = 64
#: Messages that wait when the workers start.
BACKLOG = 20_000

Figures = dict[str, list[float]]


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
    """Return the rate between the first 10 % and the whole of a backlog's worth of results."""
    first = BACKLOG // 10
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
    with tempfile.TemporaryDirectory() as data:
        environment = {
            **os.environ,
            "ONCUE_DATA": data,
            "ONCUE_PORT": str(free_port()),
            "ONCUE_FUNCTIONS": str(HERE / "functions"),
        }
        command = [str(Path(sys.executable).with_name("oncue")), "up"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "noop" in line:
                    break
            time.sleep(3)
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            table(
                "memory of `oncue up` at rest (PSS of all processes)",
                "MB",
                {"oncue": [sum(p.memory_full_info().pss for p in tree) / 1e6]},
                lower_is_better=True,
            )
        finally:
            process.terminate()
            process.wait(20)


def table(title: str, unit: str, figures: Figures, *, lower_is_better: bool = False) -> None:
    """Print the medians of a figure, their spread, and the ratio to the stock contestant."""
    print(f"\n{title}")
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for name, values in figures.items():
        spread = f"{min(values):,.1f} – {max(values):,.1f}"
        print(f"  {name:<16}{medians[name]:>12,.1f} {unit:<14} ({spread})")
    if len(medians) == 2:
        ours, theirs = medians.values()
        ratio = theirs / ours if lower_is_better else ours / theirs
        print(f"  {'ratio':<16}{ratio:>12,.1f} ×")


BENCHES: dict[str, Callable[[list[Contestant], int, float], None]] = {
    "accept": accept,
    "edge": edge,
    "execute": execute,
    "idle": idle,
    "child": child,
    "memory": memory,
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
