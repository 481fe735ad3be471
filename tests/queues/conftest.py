"""Functions with queue sources, deployed to a real Valkey; and a second Valkey that is the source."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
import redis

from infra.embedded import EmbeddedServer
from tests.queues.carriers import Carrier, KafkaCarrier, RabbitCarrier, StreamCarrier
from tests.queues.rig import ROOT, OwnLedger, Queues


@pytest.fixture
def queues(redis_url: str, tmp_path: Path) -> Iterator[Queues]:
    """What a test deploys and starts; no process of it may fail in a way that nobody foresaw."""
    queues = Queues(redis_url, tmp_path)
    yield queues
    queues.close()
    assert not queues.log.exists() or "Traceback" not in queues.log.read_text()


@pytest.fixture
def own_ledger(tmp_path: Path) -> Iterator[OwnLedger]:
    """The same over a Valkey that the test may kill."""
    with EmbeddedServer(tmp_path / "own") as server:
        queues = OwnLedger(server, tmp_path)
        yield queues
        queues.close()


@pytest.fixture(scope="session")
def source_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A Valkey of its own, which tests may kill; they start it again."""
    with EmbeddedServer(tmp_path_factory.mktemp("source")) as server:
        yield server


@pytest.fixture
def streams(queues: Queues, source_server: EmbeddedServer) -> Iterator[redis.Redis]:
    """The source's Valkey, emptied, as the connection `main`."""
    queues.connections["MAIN"] = source_server.url
    with redis.Redis.from_url(source_server.url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def kafka_cluster() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Bootstrap servers of librdkafka's own brokers, and the process that they run in."""
    command = [sys.executable, "-m", "tests.queues.kafka_cluster"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
        process.kill()


@pytest.fixture(params=["rabbitmq", "redis", "kafka"])
def carrier(request: pytest.FixtureRequest, queues: Queues) -> Carrier:
    """A queue of one kind of source, on a real server, behind the connection `main`."""
    made: Carrier
    if request.param == "rabbitmq":
        made = RabbitCarrier(request.getfixturevalue("rabbitmq_url"))
    elif request.param == "redis":
        made = StreamCarrier(request.getfixturevalue("source_server").url)
    else:
        made = KafkaCarrier(request.getfixturevalue("kafka_cluster")[0])
    queues.connections["MAIN"] = made.address
    return made


@pytest.fixture
def rabbit(queues: Queues, rabbitmq_url: str) -> RabbitCarrier:
    queues.connections["MAIN"] = rabbitmq_url
    return RabbitCarrier(rabbitmq_url)


@pytest.fixture
def channel(rabbitmq_url: str) -> Iterator[Any]:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel
