"""What lies between the processes and Redis breaks; the web process dies while it answers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from runtime.ledger.scripts import script
from tests.chaos.proxy import Proxy, Reply
from tests.chaos.stage import Stage


def web_killed(stage: Stage) -> None:
    """kill -9 of the web process mid-request: the same key again gives one invocation."""
    with stage.system() as system:
        web = system.start_web()
        system.start_workers(2)
        with stage.load(rate=80, threads=8, work=(1.0, {"ms": 20})):
            for _ in range(int(stage.span(8, 2))):
                time.sleep(stage.random.uniform(0.5, 1.5))
                web.kill()
                web.start()
                system.await_web()
        broken = sum(stage.answers.values()) - stage.answers["202"]
        stage.note(f"{broken} requests broken off, each asked again under its key")
        stage.drain(30)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} invocations ran again")


def connections_dropped(stage: Stage) -> None:
    """Every connection to Redis is reset each 2 s: all is accepted in the end, and ends."""
    with stage.system() as system, Proxy(system.socket_path) as proxy:
        system.start_web(proxy.url)
        system.start_workers(2, proxy.url)
        waits = []
        with (
            ThreadPoolExecutor(1) as waiting,
            stage.load(rate=60, work=(0.7, {"ms": 50}), chain=(0.2, {"ms": 50}), hopeless=(0.1, {"ms": 20})),
        ):
            dropped = 0
            for n in range(int(stage.span(20, 4))):
                time.sleep(1)
                waits.append(waiting.submit(stage.client().result, "work", {"ms": 1500}, f"waits-{n}", wait_s=20))
                time.sleep(1)
                dropped += proxy.sever()
        answers = [wait.result() for wait in waits]
        slowest_s = max(seconds for _, seconds in answers)
        stage.note(f"{dropped} connections reset; who waited for a result had it after {slowest_s:.1f} s at most")
        stage.expect({status for status, _ in answers} == {200}, f"who waited for a result was told {answers}")
        stage.expect(slowest_s < 10, f"who waited for a result of 1.5 s had it after {slowest_s:.1f} s")
        stage.drain(30)
        findings = stage.finish()
        stage.note(f"{findings.repeats} of {findings.accepted} claims had to be made again")


def reply_reset(stage: Stage) -> None:
    """The reply of one accept, one fetch, one claim and one finish is lost on the wire: one run for each id."""
    replies = {
        "accept": Reply(script("accept").sha.encode(), b":1\r\n"),
        "fetch": Reply(b"XREADGROUP", b"default-"),
        "claim": Reply(script("claim").sha.encode(), b"default-"),
        "finish": Reply(script("finish").sha.encode(), b"succeeded"),
    }
    with stage.system() as system, Proxy(system.socket_path) as proxy:
        system.start_web(proxy.url)
        system.start_workers(2, proxy.url)
        for _ in range(int(stage.span(5, 1))):
            for name, reply in replies.items():
                with stage.load(rate=30, threads=2, work=(1.0, {"ms": 20})):
                    time.sleep(0.3)
                    proxy.cut(reply)
                    stage.expect(proxy.has_cut.wait(10), f"no reply of a {name} passed by")
        stage.drain(30)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} invocations ran again")


def worker_partitioned(stage: Stage) -> None:
    """A partition longer than the lease between one worker and Redis: its work runs elsewhere, its late word is refused."""
    with stage.system() as system, Proxy(system.socket_path) as proxy:
        system.start_web()
        system.start_workers(1, proxy.url)
        system.start_workers(1)
        with stage.load(rate=15, work=(0.9, {"ms": 400}), chain=(0.1, {"ms": 100})):
            time.sleep(2)
            proxy.hold()
            time.sleep(stage.span(20, 4))
            proxy.let_through()
            time.sleep(3)
        stage.drain(30)
        findings = stage.finish()
        stage.expect(findings.repeats >= 1, "nothing that the cut-off worker held ran again")


def web_partitioned(stage: Stage) -> None:
    """A partition between the web process and Redis: 503 in a bounded time, and the same keys are accepted afterwards."""
    with stage.system() as system, Proxy(system.socket_path) as proxy:
        system.start_web(proxy.url)
        system.start_workers(1)
        with stage.load(rate=40, threads=8, work=(1.0, {"ms": 20})) as load:
            time.sleep(1)
            proxy.hold()
            time.sleep(stage.span(25, 12))
            proxy.let_through()
            time.sleep(1)
        stage.note(f"{load.answers['503']} × 503, the slowest after {load.slowest_s:.0f} s")
        stage.expect(load.slowest_s < 16, f"an answer took {load.slowest_s:.0f} s")
        stage.drain(30)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} invocations ran again")
