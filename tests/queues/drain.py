"""Drain 20,000 messages of each source and tell the rate: python -m tests.queues.drain [COUNT]

The messages wait at the source before a listener starts; the rate is from the first acceptance seen to the last.
Exits with 1, and a sentence, when the ledger does not hold each message exactly once.
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


def drain(name: str, carrier: Carrier, folder: Path, count: int) -> str | None:
    """Tell the rate of one source; return what went wrong."""
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
        queues.stop(process)
        sent, accepted = Counter(range(count)), queues.numbers()
        lost, surplus = (sent - accepted).total(), (accepted - sent).total()
        left = carrier.unsettled("take")
        queues.close()
    print(f"{name:9} {count - lost:,} of {count:,} messages, left: {left}, {(reached - first) / took_s:,.0f} messages/s")
    if not lost and not surplus:
        return None
    return f"{name}: of {count:,} messages {lost:,} did not reach the ledger, and it holds {surplus:,} too many"


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
        wrong = [
            drain("rabbitmq", RabbitCarrier(rabbitmq.url), folder, count),
            drain("redis", StreamCarrier(source.url), folder, count),
            drain("kafka", KafkaCarrier(cluster.stdout.readline().strip()), folder, count),
        ]
        cluster.kill()
    if any(wrong):
        sys.exit("\n".join(filter(None, wrong)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
