"""docs/queues.md: its producers reach a function, its options are all there are, and its batch handler works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from runtime.authoring.options import AUTHOR_UNITS
from runtime.authoring.triggers import QueueTrigger
from tests.queues.carriers import Carrier, KafkaCarrier, RabbitCarrier
from tests.queues.rig import ROOT, Queues

Eventually = Callable[..., object]

PAGE = (ROOT / "docs" / "queues.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def block(words: str) -> str:
    (found,) = [each for each in BLOCKS if words in each]
    return found


def test_a_documented_producer(queues: Queues, carrier: Carrier, tmp_path: Path, eventually: Eventually) -> None:
    """Each snippet, run as it stands but for the name of the queue, makes one invocation with its data."""
    exchange, options = f"events-{uuid4().hex[:8]}", {}
    if isinstance(carrier, RabbitCarrier):
        source, options = block("import pika").replace('"events"', f'"{exchange}"'), {"bind": (exchange, "order.*")}
    elif isinstance(carrier, KafkaCarrier):
        source = block("from confluent_kafka")
    else:
        source = block("import redis")
    address = carrier.servers if isinstance(carrier, KafkaCarrier) else carrier.address
    queues.deploy(take=carrier.trigger(**options))
    queues.listen()
    if options:
        eventually(lambda: queues.states() == ["running"], within_s=20)
    (tmp_path / "producer.py").write_text(source.replace('"orders"', f'"{carrier.name}"'))
    environment = {**os.environ, "ONCUE_CONNECTION_MAIN": address}
    subprocess.run([sys.executable, tmp_path / "producer.py"], env=environment, check=True, timeout=30)
    eventually(lambda: queues.accepted() == 1, within_s=20)
    assert queues.events()[0]["data"] == {"order": 7, "amount": 12.5}


def test_every_option_is_documented() -> None:
    """The table names what `@queue` takes, and nothing else."""
    written = {name: key for key, (name, _) in AUTHOR_UNITS.items()}
    options = {written.get(name, name) for name in QueueTrigger.model_fields} - {"kind", "url", "lossy"}
    table = PAGE.partition("## Options")[2].partition("##")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == options


def test_the_documented_batch_handler() -> None:
    """It names the messages that failed."""
    names: dict[str, Any] = {}
    exec(compile(block("batch=100"), "queues.md", "exec"), names)
    messages = [{"id": "a", "data": {"amount": 1}}, {"id": "b", "data": {"amount": -1}}]
    assert names["store"](messages) == ["b"]


def test_the_first_example() -> None:
    """It declares four sources."""
    names: dict[str, Any] = {}
    exec(compile(block("def take("), "queues.md", "exec"), names)
    triggers = names["take"].__oncue__.triggers
    assert [trigger.scheme for trigger in triggers] == ["kafka", "redis+pubsub", "redis", "rabbitmq"]
