"""The scenarios by name, and the playing of one."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.rabbitmq_packages import RabbitMQMissingError, find_or_fetch
from tests.chaos.scenarios import brokers, floods, ledgers, wires, workers
from tests.chaos.stage import Outcome, Stage


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to break things. Its docstring says what must hold."""

    play: Callable[[Stage], None]
    #: also part of `just test`, shortened
    is_short: bool = False
    #: "redis" or "rabbitmq"
    carrier: str = "redis"
    needs_root: bool = False

    @property
    def name(self) -> str:
        name = self.play.__name__.replace("_", " ")
        return name if self.carrier == "redis" or name.startswith("rabbitmq") else f"{name} (RabbitMQ)"

    def lacks(self) -> str:
        """Return why it cannot be played on this machine; empty when it can."""
        if self.needs_root and (sys.platform != "linux" or os.geteuid() != 0):
            return "needs root, to mount a small disk"
        if self.carrier == "rabbitmq":
            try:
                find_or_fetch()
            except RabbitMQMissingError as error:
                return str(error)
        return ""


SCENARIOS = (
    Scenario(workers.worker_killed, is_short=True),
    Scenario(workers.worker_frozen, is_short=True),
    Scenario(workers.worker_stopped, is_short=True),
    Scenario(workers.workers_rolled),
    Scenario(workers.everything_killed, is_short=True),
    Scenario(workers.children_broken),
    Scenario(wires.web_killed),
    Scenario(wires.connections_dropped, is_short=True),
    Scenario(wires.reply_reset, is_short=True),
    Scenario(wires.worker_partitioned),
    Scenario(wires.web_partitioned),
    Scenario(ledgers.redis_killed),
    Scenario(ledgers.redis_away, is_short=True),
    Scenario(ledgers.redis_full, is_short=True),
    Scenario(ledgers.redis_frozen),
    Scenario(ledgers.redis_flapping),
    Scenario(ledgers.disk_full, needs_root=True),
    Scenario(ledgers.disk_full_everysec, needs_root=True),
    Scenario(floods.rubbish, is_short=True),
    Scenario(floods.delayed),
    Scenario(brokers.rabbitmq_killed, is_short=True, carrier="rabbitmq"),
    Scenario(brokers.rabbitmq_alarm, carrier="rabbitmq"),
    Scenario(brokers.rabbitmq_connections_dropped, carrier="rabbitmq"),
    Scenario(wires.connections_dropped, carrier="rabbitmq"),
    Scenario(wires.reply_reset, carrier="rabbitmq"),
    Scenario(wires.worker_partitioned, carrier="rabbitmq"),
    Scenario(workers.worker_killed, is_short=True, carrier="rabbitmq"),
    Scenario(workers.worker_frozen, carrier="rabbitmq"),
    Scenario(workers.worker_stopped, carrier="rabbitmq"),
    Scenario(workers.workers_rolled, carrier="rabbitmq"),
    Scenario(workers.children_broken, carrier="rabbitmq"),
    Scenario(ledgers.redis_killed, carrier="rabbitmq"),
    Scenario(ledgers.redis_away, carrier="rabbitmq"),
    Scenario(ledgers.redis_full, carrier="rabbitmq"),
    Scenario(ledgers.redis_frozen, carrier="rabbitmq"),
)


def play(scenario: Scenario, *, seed: int, is_short: bool, folder: Path | None = None) -> Outcome:
    """Play a scenario in a folder of its own, and return what came of it; violations are listed, never raised."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="oncue-chaos-") as temporary:
        stage = Stage(folder or Path(temporary) / "stage", seed=seed, is_short=is_short, carrier=scenario.carrier)
        try:
            scenario.play(stage)
        except Exception as error:
            stage.violations.append(f"{type(error).__name__}: {error}")
        return stage.outcome(scenario.name, time.monotonic() - began)
