"""What every test can ask for: a real Valkey, a real RabbitMQ, and a way to wait for something without sleeping blindly."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
import redis
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from infra.embedded import EmbeddedServer
from infra.rabbitmq_packages import RabbitMQMissingError
from infra.rabbitmq_server import RabbitMQServer

T = TypeVar("T")

#: What takes long is begun first, so that no process is left with it at the end while the others have nothing to do.
BEGUN_FIRST = (
    "tests/carriers/test_rabbitmq_outages.py",
    "tests/chaos/test_chaos.py",
    "tests/setup/test_wrapper.py",
    "tests/http/test_conformance.py",
    "tests/cron/test_schedulers.py",
    "tests/queues/test_kafka.py",
    "tests/front_door/test_bare_host.py",
    "tests/versions/test_deploy_under_load.py",
)
#: What runs in one process, since that starts a RabbitMQ of its own: seconds of a processor, and some of each one after.
WITH_RABBITMQ = (
    "tests/carriers/test_delays.py",
    "tests/carriers/test_rabbitmq",
    "tests/queues/test_",
    "tests/versions/test_deploy_rabbitmq.py",
)


class Scheduling(LoadFileScheduling):
    """Keeps the tests of a file together, and all that use the shared RabbitMQ."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "RabbitMQ" if file.startswith(WITH_RABBITMQ) and file != "tests/queues/test_kafka.py" else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Distribute tests so (`--dist loadfile` where only those of the functions run)."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of those files first."""
    places = {file: place for place, file in enumerate(BEGUN_FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the embedded server that all tests share."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of the shared server, emptied for this test."""
    with redis.Redis.from_url(redis_server) as connection:
        connection.flushall()
    return redis_server


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    """The RabbitMQ that all tests share; who kills it starts it again."""
    server = RabbitMQServer(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
    except RabbitMQMissingError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(f"NOTHING IS TESTED WITH RABBITMQ: {error}")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_url(rabbitmq_server: RabbitMQServer) -> str:
    """The URL of the shared RabbitMQ."""
    return rabbitmq_server.url


@pytest.fixture(scope="session")
def eventually() -> Callable[..., object]:
    """`eventually(probe, within_s=10)` returns the first true value of `probe()`, or fails when the time is up."""

    def wait(probe: Callable[[], T], within_s: float = 10.0) -> T:
        ends = time.monotonic() + within_s
        while not (found := probe()):
            if time.monotonic() > ends:
                pytest.fail(f"{probe} was not true within {within_s:g} s; the last value was {found!r}")
            time.sleep(0.01)
        return found

    return wait
