"""Sources follow what is deployed, and say what they lack."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from infra.embedded import EmbeddedServer
from runtime.authoring.manifest import FunctionManifest
from runtime.authoring.options import FunctionOptions
from runtime.authoring.triggers import QueueTrigger
from runtime.versions.catalog import Function
from tests.queues.carriers import StreamCarrier, numbered
from tests.queues.rig import Queues
from triggers.queues.accepting import Accepting
from triggers.queues.handoff import HandOff
from triggers.queues.message import Message
from triggers.queues.source import Source

Eventually = Callable[..., object]

FUNCTION = FunctionManifest(name="take", file="__init__.py", line=1, options=FunctionOptions(), triggers=(), input_schema={})


def test_sources_added_changed_and_removed_by_deploys(
    queues: Queues, streams: redis.Redis, source_server: EmbeddedServer, eventually: Eventually
) -> None:
    """Within a second, without a restart; a deploy that keeps a source goes on with it, in the new version."""
    one, two = StreamCarrier(source_server.url), StreamCarrier(source_server.url)
    queues.listen()
    first = queues.deploy(take=one.trigger())
    one.send(numbered(1))
    eventually(lambda: queues.accepted() == 1, within_s=20)
    second = queues.deploy(take=one.trigger(), other=two.trigger())
    two.send(numbered(1, start=1))
    eventually(lambda: queues.accepted() == 2, within_s=1)
    one.send(numbered(1, start=2))
    eventually(lambda: queues.accepted() == 3, within_s=1)
    assert [record["version"] for record in queues.records()] == [first, second, second]
    queues.deploy(take=one.trigger(when={"n": 4}))
    eventually(lambda: len(queues.statuses()) == 1)
    one.send(numbered(2, start=3))
    two.send(numbered(1, start=5))
    eventually(lambda: queues.count("filtered") == 1 and queues.accepted() == 4)
    assert queues.numbers() == Counter([0, 1, 2, 4])
    queues.drop()
    eventually(lambda: queues.statuses() == [])


@pytest.mark.parametrize("options", [{}, {"batch": 2, "window_s": 0.05}], ids=["alone", "batches"])
def test_a_share_of_the_messages_for_a_candidate(
    queues: Queues, streams: redis.Redis, source_server: EmbeddedServer, eventually: Eventually, options: dict[str, Any]
) -> None:
    """A message's version is chosen by its event's id, so a repeat would get the same; batches are split by their own."""
    orders = StreamCarrier(source_server.url)
    version = queues.deploy(take=orders.trigger(**options), percent=40)
    orders.send(numbered(200))
    queues.listen()
    eventually(lambda: sum(queues.numbers().values()) == 200, within_s=20)
    function = Function("tests", version, FUNCTION, "tests-candidate", 40)
    records = queues.records()
    assert [each["version"] for each in records] == [function.version_for(each["event"]["id"]) for each in records]
    assert 0.2 < Counter(each["version"] for each in records)["tests-candidate"] / len(records) < 0.6


def test_a_deploy_while_a_batch_is_filling(queues: Queues) -> None:
    """The batch runs on the version that is served when it is accepted, however long ago its window began."""
    trigger = QueueTrigger(url="redis://main/orders", batch=10, window_s=0.1)

    async def hand_over() -> None:
        accepting = Accepting(queues.url)
        hand_off = HandOff(accepting, Source.of(trigger, Function("tests", "old", FUNCTION)))
        taking = asyncio.create_task(hand_off.take(Message(b'{"n": 1}', "1")))
        await asyncio.sleep(0)
        hand_off.source = Source.of(trigger, Function("tests", "new", FUNCTION))
        assert await taking == "accepted"
        await accepting.close()

    asyncio.run(hand_over())
    assert [record["version"] for record in queues.records()] == ["new"]


def test_a_connection_that_is_not_configured(
    queues: Queues, streams: redis.Redis, source_server: EmbeddedServer, eventually: Eventually
) -> None:
    """Its sources are reported with the variable to set; all others go on. A connection to another kind of server, likewise."""
    orders = StreamCarrier(source_server.url)
    queues.deploy(
        take=orders.trigger(),
        lost=QueueTrigger(url="rabbitmq://my-rabbit/orders"),
        wrong=QueueTrigger(url="kafka://main/orders"),
        raw=QueueTrigger(url="redis://main/raw", format="bytes"),
        typo=QueueTrigger(url="redis://typo/orders"),
    )
    queues.connections["TYPO"] = "redis://:hunter2@host:63x79"
    queues.listen()
    orders.send(numbered(1))
    eventually(lambda: queues.accepted() == 1 and len(queues.statuses()) == 5, within_s=20)
    eventually(lambda: queues.states() == ["refused"] * 4 + ["running"])
    reasons = {status["function"]: status["reason"] for status in queues.statuses()}
    assert reasons["lost"].endswith("is not configured; set ONCUE_CONNECTION_MY_RABBIT")
    assert "ONCUE_CONNECTION_MAIN is a unix address, and kafka://main/orders needs" in reasons["wrong"]
    assert "'raw' has none" in reasons["raw"]
    assert reasons["typo"].startswith("ONCUE_CONNECTION_TYPO is no address that redis://typo/orders could use")
    assert "hunter2" not in queues.log.read_text() + str(queues.statuses())
    assert all(words in queues.log.read_text() for words in ("ONCUE_CONNECTION_MY_RABBIT", "'raw' has none"))


def test_a_process_that_is_gone(
    queues: Queues, streams: redis.Redis, source_server: EmbeddedServer, eventually: Eventually
) -> None:
    """A process that stops takes its sources off the list."""
    queues.deploy(take=StreamCarrier(source_server.url).trigger())
    process = queues.listen()
    eventually(lambda: queues.states() == ["running"], within_s=20)
    assert queues.stop(process) == 0
    assert queues.statuses() == []
