"""Redis dies, is away, is full; its disk is full."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.embedded import EmbeddedServerError
from tests.chaos.stage import IDLE_SHARE, Stage
from tests.chaos.system import System

MIX = {"work": (0.7, {"ms": 100}), "chain": (0.1, {"ms": 100}), "hopeless": (0.2, {"ms": 20})}


def redis_killed(stage: Stage) -> None:
    """Redis kill -9 with AOF under load: serving again within 10 s, and what it answered to is there."""
    slowest = 0.0
    with stage.system() as system:
        system.start_web()
        system.start_workers(2)
        with stage.load(rate=40, **MIX) as load:
            for _ in range(int(stage.span(6, 2))):
                time.sleep(stage.random.uniform(1, 4))
                system.kill_server()
                began = time.monotonic()
                system.start_server()
                answered = load.answers["202"]
                stage.until(lambda answered=answered: load.answers["202"] > answered, 10, "a 202 after the restart")
                slowest = max(slowest, time.monotonic() - began)
        stage.note(f"serving again after {slowest:.1f} s at most")
        stage.drain(30)
        stage.finish()


def redis_away(stage: Stage) -> None:
    """Redis away for 15 s while handlers end and fail: outcomes are held, none vanishes, nothing runs in circles."""
    away_s = stage.span(15, 5)
    with stage.system() as system:
        system.start_web()
        workers = system.start_workers(2)
        with stage.load(rate=30, work=(0.5, {"ms": 200, "fails": 1}), hopeless=(0.5, {"ms": 200})):
            time.sleep(3)
            system.kill_server()
            before = [worker.cpu_s() for worker in workers]
            time.sleep(away_s)
            shares = [(worker.cpu_s() - used) / away_s for worker, used in zip(workers, before, strict=True)]
            system.start_server()
            time.sleep(2)
        stage.note(f"a worker used {max(shares):.0%} of a processor meanwhile")
        stage.expect(max(shares) < IDLE_SHARE, f"workers used {shares} of a processor while Redis was away")
        stage.drain(60)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} attempts whose outcome was held ran again")


def redis_frozen(stage: Stage) -> None:
    """Redis stands still for longer than the lease, as on a disk that hangs: nothing is lost or runs twice, and nobody spins."""
    still_s = stage.lease_s + 3
    with stage.system() as system:
        system.start_web()
        workers = system.start_workers(2)
        with stage.load(rate=30, **MIX):
            for _ in range(int(stage.span(3, 1))):
                time.sleep(2)
                before = [worker.cpu_s() for worker in workers]
                os.kill(system.server.pid, signal.SIGSTOP)
                time.sleep(still_s)
                os.kill(system.server.pid, signal.SIGCONT)
                shares = [(worker.cpu_s() - used) / still_s for worker, used in zip(workers, before, strict=True)]
                stage.expect(max(shares) < IDLE_SHARE, f"workers used {shares} of a processor while Redis stood still")
            time.sleep(2)
        stage.drain(30)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} attempts of living workers ran again")


def redis_flapping(stage: Stage) -> None:
    """Redis forgets its scripts, ends connections, becomes a replica, pauses writes and is full, in turn: nothing is lost."""
    with stage.system() as system:
        system.start_web()
        system.start_workers(2)
        with stage.load(rate=40, **MIX) as load, system.redis() as connection:
            for n in range(int(stage.span(15, 4))):
                time.sleep(1)
                connection.script_flush()
                for kind in ("normal", "pubsub"):
                    connection.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                if n % 3 == 0:
                    connection.replicaof("127.0.0.1", 1)
                    time.sleep(0.7)
                    connection.replicaof("NO", "ONE")
                elif n % 3 == 1:
                    connection.client_pause(1500, all=False)
                else:
                    connection.config_set("maxmemory", 1)
                    time.sleep(0.5)
                    connection.config_set("maxmemory", 0)
        stage.note(f"{load.answers['503']} × 503")
        stage.drain(30)
        stage.finish()


def redis_full(stage: Stage) -> None:
    """maxmemory reached for 10 s: 503s, then everything goes on, and 30 s later nothing is stranded."""
    with stage.system() as system:
        system.start_web()
        system.start_workers(2)
        with stage.load(rate=40, work=(0.6, {"ms": 100}), chain=(0.2, {"ms": 100}), hopeless=(0.2, {"ms": 20})) as load:
            time.sleep(2)
            with system.redis() as connection:
                connection.config_set("maxmemory", 1)
                time.sleep(stage.span(10, 3))
                connection.config_set("maxmemory", 0)
            time.sleep(1)
        stage.expect(load.answers["503"] > 0, "no request was refused with 503")
        stage.note(f"{load.answers['503']} × 503")
        stage.drain(30)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} attempts whose outcome was held ran again")


def disk_full(stage: Stage) -> None:
    """The append-only file on a full disk of 4 MB: what was answered with 202 is there once there is room."""
    with small_disk(stage.folder / "data" / "redis", "4m") as disk, stage.system() as system:
        system.start_web()
        system.start_workers(2)
        with stage.load(rate=200, work=(1.0, {"ms": 1, "of": None})):
            stage.until(lambda: not system.server.is_running(), 60, "the server to end on a full disk")
            time.sleep(stage.span(5, 1))
            stage.expect(not serves(system), "the server serves from a full disk")
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            took = system.start_server()
            time.sleep(2)
        stage.note(f"serving {took:.1f} s after there was room")
        stage.drain(30)
        stage.finish()


def serves(system: System) -> bool:
    """Start the server as a supervisor would, and tell whether it stays."""
    try:
        system.start_server()
        time.sleep(1)
    except EmbeddedServerError:
        return False
    return system.server.is_running()


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory for as long as the block runs."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def disk_full_everysec(stage: Stage) -> None:
    """The same with a sync once a second, where the server stays and refuses: 503s, and nothing is lost."""
    with small_disk(stage.folder / "data" / "redis", "4m") as disk, stage.system(fsync="everysec") as system:
        system.start_web()
        system.start_workers(2)
        with stage.load(rate=200, work=(1.0, {"ms": 1})) as load:
            stage.until(lambda: load.answers["503"] > 5, 60, "requests to be refused")
            time.sleep(stage.span(5, 1))
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            time.sleep(2)
        stage.note(f"{load.answers['503']} × 503")
        stage.drain(30)
        stage.finish()
