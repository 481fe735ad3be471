"""Drain 20,000 messages of each source and tell the rate: python -m tests.queues.drain [COUNT]

The messages wait at the source before a listener starts; the rate is from the first acceptance seen to the last.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from infra.embedded import EmbeddedServer
from infra.rabbitmq_server import RabbitMQServer
from tests.queues.carriers import Carrier, KafkaCarrier, RabbitCarrier, StreamCarrier, numbered
from tests.queues.rig import ROOT, Queues


def drain(name: str, carrier: Carrier, folder: Path, count: int) -> None:
    with EmbeddedServer(folder / f"{name}-ledger") as ledger:
        queues = Queues(ledger.url, folder)
        queues.connections["MAIN"] = carrier.address
        queues.deploy(take=carrier.trigger())
        carrier.send(numbered(count))
        process = queues.listen()
        while not (first := queues.accepted()):
            time.sleep(0.002)
        began = time.monotonic()
        while (reached := queues.accepted()) < count and time.monotonic() < began + 60:
            time.sleep(0.002)
        took_s = time.monotonic() - began
        is_whole = reached == count and queues.numbers() == Counter(range(count))
        queues.stop(process)
        left = carrier.unsettled("take")
        queues.close()
    print(f"{name:9} {count} messages, each once: {is_whole}, left: {left}, {(reached - first) / took_s:,.0f} messages/s")


def main(count: int) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rabbitmq = stack.enter_context(RabbitMQServer(folder / "rabbitmq"))
        source = stack.enter_context(EmbeddedServer(folder / "source"))
        command = [sys.executable, "-m", "tests.queues.kafka_cluster"]
        cluster = stack.enter_context(
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        assert cluster.stdout is not None
        drain("rabbitmq", RabbitCarrier(rabbitmq.url), folder, count)
        drain("redis", StreamCarrier(source.url), folder, count)
        drain("kafka", KafkaCarrier(cluster.stdout.readline().strip()), folder, count)
        cluster.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
