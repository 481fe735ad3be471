"""What RabbitMQ holds belongs to its version all the same: it keeps it from being collected, and can be adopted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.rabbitmq_server import RabbitMQServer
from runtime.carriers.rabbitmq import RabbitCarrier
from runtime.ledger.keys import QueueKeys
from runtime.ledger.ledger import Ledger
from runtime.versions.collecting import Collector
from tests.carriers.rabbit import Rabbit
from tests.ledger.book import Book, acceptance
from tests.versions.deploying import Host, greeting

KEYS = QueueKeys("default")


@pytest.fixture
def host(redis_url: str, tmp_path: Path) -> Iterator[Host]:
    host = Host(redis_url, tmp_path)
    yield host
    host.close()


def test_what_rabbitmq_holds_keeps_its_version_and_can_be_adopted(
    host: Host, redis_url: str, rabbitmq_server: RabbitMQServer, tmp_path: Path, eventually: Callable[..., object]
) -> None:
    """Whether it still waits to be sent, or was sent and no index names it any more."""
    rabbit, book, ledger = Rabbit(rabbitmq_server), Book(redis_url, tmp_path / "results"), Ledger(redis_url)
    carrier = RabbitCarrier(ledger, "one", threads=1, url=rabbit.url)

    def accept(version: str) -> str:
        event = {"id": "1", "source": "/", "type": "t", "time": "2026-01-01T00:00:00+00:00", "data": {"name": "Ada"}}
        return book.accept(acceptance(function="greet", version=version, event=json.dumps(event).encode()))

    try:
        sent, unsent = (host.deploy(host.folder("hello", greeting(word))).plan.version for word in ("sent", "unsent"))
        ids = [accept(sent)]
        carrier.declare_queue("default")
        eventually(lambda: book.redis.zcard(KEYS.leases) == 1)  # confirmed by RabbitMQ
        carrier.close()
        ids.append(accept(unsent))
        # The index has a bound: of a large backlog it names the newest only.
        book.redis.delete(KEYS.index(), KEYS.index("greet"))
        host.deploy(host.folder("hello", greeting("new")))
        collector = Collector(host.registry, host.store, host.backlog, keep=0, grace_s=0)
        assert collector.collect("hello") == []
        report = host.deploy(host.folder("hello", greeting("newer")), adopt=True)
        assert (report.adopted, report.misfits) == (2, ())
        assert {book.record(id).version for id in ids} == {report.plan.version}
        assert {sent, unsent} <= set(collector.collect("hello"))
    finally:
        carrier.close()
        ledger.close()
        book.close()
        rabbit.empty()
