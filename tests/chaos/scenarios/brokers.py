"""RabbitMQ dies, blocks, and closes its connections, while the ledger stays."""

from __future__ import annotations

import time

from infra.rabbitmq_server import RabbitMQServer
from tests.chaos.stage import Stage
from tests.chaos.system import System

MIX = {"work": (0.7, {"ms": 100}), "chain": (0.2, {"ms": 50}), "hopeless": (0.1, {"ms": 20})}

#: Seconds that an accept may take while RabbitMQ blocks.
ACCEPT_WITHIN_S = 5.0


def broker_of(system: System) -> RabbitMQServer:
    assert system.broker is not None
    return system.broker


def rabbitmq_killed(stage: Stage) -> None:
    """RabbitMQ kill -9 and restart: each request is answered with 202 all the while, and nothing is lost or runs again."""
    with stage.system() as system:
        system.start_web()
        system.start_workers(2)
        broker = broker_of(system)
        with stage.load(rate=40, **MIX) as load:
            for _ in range(int(stage.span(4, 1))):
                time.sleep(stage.random.uniform(1, 3))
                broker.kill()
                time.sleep(stage.span(4, 1))
                broker.start()
            time.sleep(1)
        stage.expect(set(load.answers) == {"202"}, f"the edge answered {dict(load.answers)}")
        stage.drain(40)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} invocations ran again")


def rabbitmq_alarm(stage: Stage) -> None:
    """RabbitMQ's memory alarm, which blocks all publishers: 202s go on, nothing hangs, nothing runs again."""
    with stage.system() as system:
        system.start_web()
        system.start_workers(2)
        with stage.load(rate=40, **MIX) as load:
            time.sleep(2)
            broker_of(system).set_memory_alarm(True)
            time.sleep(stage.span(15, 3))
            broker_of(system).set_memory_alarm(False)
            time.sleep(1)
        stage.note(f"the slowest accept took {load.slowest_s * 1000:.0f} ms")
        stage.expect(load.slowest_s < ACCEPT_WITHIN_S, f"an accept took {load.slowest_s:.1f} s")
        stage.expect(set(load.answers) == {"202"}, f"the edge answered {dict(load.answers)}")
        stage.drain(40)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} invocations ran again")


def rabbitmq_connections_dropped(stage: Stage) -> None:
    """Every connection to RabbitMQ is closed each 2 s: nothing is lost, nothing runs again."""
    with stage.system() as system:
        system.start_web()
        system.start_workers(2)
        closed = 0
        with stage.load(rate=40, **MIX):
            for _ in range(int(stage.span(15, 4))):
                time.sleep(2)
                closed += broker_of(system).close_connections()
        stage.note(f"{closed} connections closed")
        stage.drain(40)
        findings = stage.finish()
        stage.expect(findings.repeats == 0, f"{findings.repeats} invocations ran again")
