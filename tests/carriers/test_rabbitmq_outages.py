"""The RabbitMQ carrier while things break: nothing accepted is lost, nothing runs twice, and no thread is."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.embedded import EmbeddedServer
from infra.rabbitmq_server import RabbitMQServer
from runtime.ledger.keys import QueueKeys
from runtime.ledger.ledger import Ledger
from tests.carriers.rabbit import CODE, Rabbit
from tests.carriers.rig import Deployment, Rig
from tests.running import make_function, start

Deploy = Callable[..., Deployment]
Work = Callable[..., Rig]
Eventually = Callable[..., Any]

KEYS = QueueKeys("default")

#: Long enough for a new worker process to start within two of them.
LEASE_S = 3.0


@pytest.fixture
def rabbit(rabbitmq_server: RabbitMQServer) -> Iterator[Rabbit]:
    """The shared RabbitMQ, emptied for this test and running again after it."""
    yield Rabbit(rabbitmq_server)
    if rabbitmq_server.process is None:
        rabbitmq_server.start()


def runs(path: Path) -> Counter[str]:
    """How often each invocation ran."""
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


class Load:
    """Accepts invocations of `mark` until it is told to stop, on this thread."""

    def __init__(self, deployment: Deployment, path: Path) -> None:
        self.deployment, self.path = deployment, path
        self.accepted: list[str] = []

    def during(self, seconds: float, *, every_s: float = 0.02, each: int = 5) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.accepted += self.deployment.accept("mark", {"path": str(self.path)}, count=each)
            threading.Event().wait(every_s)

    def all_succeeded_once(self) -> bool:
        records = [self.deployment.book.record(each) for each in self.accepted]
        return {(record.status, record.attempt) for record in records} == {("succeeded", 1)}


@pytest.fixture
def load(redis_url: str, deploy: Deploy, tmp_path: Path) -> Load:
    return Load(deploy(redis_url, CODE), tmp_path / "runs")


def test_rabbitmq_killed_and_restarted_under_load(load: Load, rabbit: Rabbit, work: Work, eventually: Eventually) -> None:
    """Accepts go on while it is away; in the end each has run exactly once."""
    rig = work(load.deployment, amqp=rabbit.url)
    load.during(0.7)
    rabbit.server.kill()
    load.during(0.7)
    rabbit.server.start()
    load.during(0.7)
    eventually(load.all_succeeded_once, 30)
    assert runs(load.path) == Counter(load.accepted)
    eventually(lambda: load.deployment.book.redis.xlen(KEYS.stream) == 0 and rabbit.messages() == 0)
    assert not load.deployment.book.redis.exists(KEYS.leases)
    assert all(thread.is_alive() for thread in rig.threads())


def test_what_is_accepted_before_rabbitmq_is_there_is_sent_later(
    load: Load, rabbit: Rabbit, work: Work, eventually: Eventually
) -> None:
    """Neither an accept nor the start of a worker needs RabbitMQ."""
    rabbit.server.stop()
    load.during(0.2)
    work(load.deployment, amqp=rabbit.url)
    load.during(0.5)
    assert runs(load.path) == Counter()
    rabbit.server.start()
    eventually(load.all_succeeded_once, 30)
    assert runs(load.path) == Counter(load.accepted)


def test_a_memory_alarm_only_delays(load: Load, rabbit: Rabbit, work: Work, eventually: Eventually) -> None:
    """Publishing pauses without a busy loop, accepts go on, and what waited is sent when the alarm is over."""
    work(load.deployment, amqp=rabbit.url)
    load.during(0.3)
    eventually(load.all_succeeded_once)
    rabbit.server.set_memory_alarm(True)
    try:
        load.during(0.5)
        before, began = time.process_time(), time.monotonic()
        threading.Event().wait(1.0)
        assert (time.process_time() - before) / (time.monotonic() - began) < 0.3
        assert load.deployment.book.redis.xlen(KEYS.stream) > 0
        waiting = load.accepted[-5:]
        assert load.deployment.all_are("queued", waiting)
    finally:
        rabbit.server.set_memory_alarm(False)
    eventually(load.all_succeeded_once, 20)
    assert runs(load.path) == Counter(load.accepted)
    eventually(lambda: load.deployment.book.redis.xlen(KEYS.stream) == 0)


def test_a_worker_stops_during_a_memory_alarm(load: Load, rabbit: Rabbit, work: Work, eventually: Eventually) -> None:
    """A publisher that waits for a blocked connection does not hold it up; another worker sends what it has read."""
    rig = work(load.deployment, amqp=rabbit.url)
    load.during(0.1)
    eventually(load.all_succeeded_once)
    rabbit.server.set_memory_alarm(True)
    try:
        load.during(0.3)
        began = time.monotonic()
        rig.stop()
        assert time.monotonic() - began < 8
    finally:
        rabbit.server.set_memory_alarm(False)
    work(load.deployment, consumer="next", amqp=rabbit.url)
    eventually(load.all_succeeded_once, 20)
    assert runs(load.path) == Counter(load.accepted)


def test_all_connections_closed_again_and_again(load: Load, rabbit: Rabbit, work: Work, eventually: Eventually) -> None:
    """Every half second for three seconds, under load."""
    rig = work(load.deployment, amqp=rabbit.url)
    closed = 0
    for _ in range(6):
        load.during(0.5)
        closed += rabbit.server.close_connections()
    assert closed >= 6
    eventually(load.all_succeeded_once, 20)
    assert runs(load.path) == Counter(load.accepted)
    assert all(thread.is_alive() for thread in rig.threads())
    eventually(lambda: load.deployment.book.redis.xlen(KEYS.stream) == 0 and rabbit.messages() == 0)


def test_a_channel_closed_by_the_consumer_timeout_while_redis_is_away(
    own_server: EmbeddedServer, tmp_path: Path, rabbit: Rabbit, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """What could not be claimed in time is delivered again when Redis is back, and runs."""
    load = Load(deploy(own_server.url, CODE, lease_s=1.0), tmp_path / "runs")
    for name, milliseconds in (("consumer_timeout", 500), ("channel_tick_interval", 200)):
        rabbit.server.evaluate(f"application:set_env(rabbit, {name}, {milliseconds})")
    try:
        work(load.deployment, threads=2, amqp=rabbit.url)
        load.during(0.2)
        load.during(0.2, every_s=0.0, each=100)  # more than is claimed when Redis goes
        before = _closings(rabbit)
        own_server.kill()
        eventually(lambda: _closings(rabbit) > before, 20)
        own_server.start()
        ledger = Ledger(own_server.url)
        eventually(lambda: _answers(ledger))
        ledger.close()
        eventually(lambda: _all_final(load), 30)
    finally:
        for name, milliseconds in (("consumer_timeout", 1800000), ("channel_tick_interval", 60000)):
            rabbit.server.evaluate(f"application:set_env(rabbit, {name}, {milliseconds})")
    assert load.deployment.all_are("succeeded", load.accepted)
    assert set(runs(load.path)) == set(load.accepted)


def _closings(rabbit: Rabbit) -> int:
    log = (rabbit.server.folder / "log" / "rabbitmq.log").read_text(errors="replace")
    return log.count("delivery acknowledgement on channel")


def _answers(ledger: Ledger) -> bool:
    try:
        ledger.declare("default")
    except Exception:
        return False
    return True


def _all_final(load: Load) -> bool:
    return all(load.deployment.book.record(each).is_final for each in load.accepted)


def test_what_a_lost_worker_held_and_had_read_is_recovered(
    redis_url: str, rabbit: Rabbit, deploy: Deploy, work: Work, eventually: Eventually
) -> None:
    """Its claims run elsewhere after their leases, and what it was about to publish is published by another."""
    deployment = deploy(redis_url, CODE, lease_s=0.5)
    worker = deployment.book.worker
    worker.declare("default")
    claimed = deployment.accept("double", {"n": 1}, count=20)
    worker.sent("default", worker.deliveries("default", "killed", count=100, block_s=0.05))
    assert len(worker.claim("default", "killed", [("", each) for each in claimed])) == 20
    read = deployment.accept("double", {"n": 1}, count=20)
    assert len(worker.deliveries("default", "killed", count=100, block_s=0.05)) == 20
    work(deployment, amqp=rabbit.url)
    eventually(lambda: deployment.all_are("succeeded", [*claimed, *read]))
    assert {deployment.book.record(each).lost for each in claimed} == {1}
    assert {deployment.book.record(each).lost for each in read} == {0}


def test_a_worker_process_killed_during_a_handler(rabbit: Rabbit, tmp_path: Path, eventually: Eventually) -> None:
    """`oncue up` carries over RabbitMQ when it is told to; kill -9 of its worker costs two leases at the most."""
    marks = tmp_path / "marks"
    make_function(
        tmp_path / "functions",
        "slow",
        f"""
import time
from runtime import Context, http
@http("POST /hooks/slow")
def slow(seconds: float, *, ctx: Context) -> int:
    with open({str(marks)!r}, "a") as file:
        file.write(f"{{time.time()}}\\n")
    time.sleep(seconds if ctx.attempt == 1 else 0)
    return ctx.attempt
""",
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ONCUE_DATA": str(tmp_path / "data"),
        "ONCUE_FUNCTIONS": str(tmp_path / "functions"),
        "ONCUE_PORT": "0",
        "ONCUE_LEASE": f"{LEASE_S}s",
        "ONCUE_BROKER": rabbit.url,
    }
    oncue = start(environment, tmp_path)
    try:
        assert oncue.run("invoke", "slow", "seconds=0", "--wait").returncode == 0
        marks.unlink()
        assert oncue.run("invoke", "slow", "seconds=30").returncode == 0
        eventually(marks.exists)
        (worker,) = (pid for pid in oncue.up.descendants() if b"\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
        killed_at = time.time()
        os.kill(worker, signal.SIGKILL)
        first, second = eventually(lambda: len(lines := marks.read_text().split()) == 2 and lines, 20)
        assert float(first) < killed_at
        assert float(second) - killed_at < 2 * LEASE_S
        eventually(lambda: rabbit.messages() == 0)
    finally:
        oncue.up.stop()
