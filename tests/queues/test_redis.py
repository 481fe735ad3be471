"""What is Redis's own: entries, groups and trimmed entries of streams; and pub/sub, which forgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from infra.embedded import EmbeddedServer
from runtime.authoring.triggers import QueueTrigger
from tests.queues.carriers import StreamCarrier, numbered
from tests.queues.rig import Queues

Eventually = Callable[..., object]


@pytest.fixture
def orders(queues: Queues, streams: redis.Redis, source_server: EmbeddedServer) -> StreamCarrier:
    return StreamCarrier(source_server.url)


def test_an_entry_of_plain_fields(queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually) -> None:
    """Without a field `data` the fields themselves are the data, as texts."""
    queues.deploy(take=orders.trigger())
    entry = streams.xadd(orders.name, {"order": "7", "who": "Ada"})
    queues.listen()
    eventually(lambda: queues.accepted() == 1, within_s=20)
    (event,) = queues.events()
    assert (event["id"], event["data"]) == (entry, {"order": "7", "who": "Ada"})


def test_entries_trimmed_before_they_were_read(
    queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually
) -> None:
    """What a lost listener held, and the producer has trimmed since, is told as lost; no invocation is made of it."""
    queues.deploy(take=orders.trigger())
    orders.send(numbered(6))
    streams.xgroup_create(orders.name, "oncue.take", "0")
    streams.xreadgroup("oncue.take", "lost", {orders.name: ">"})
    streams.xtrim(orders.name, maxlen=2, approximate=False)
    queues.listen()
    eventually(lambda: queues.count("lost") == 4 and queues.accepted() == 2, within_s=20)
    assert queues.numbers() == Counter([4, 5])
    eventually(lambda: orders.unsettled("take") == 0)
    assert queues.log.read_text().count("trimmed from the stream before it was read") == 4


def test_entries_trimmed_while_nobody_listened(
    queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually
) -> None:
    """They are told as lost, too, once; what is left is taken."""
    queues.deploy(take=orders.trigger())
    orders.send(numbered(2))
    process = queues.listen()
    eventually(lambda: queues.accepted() == 2, within_s=20)
    assert queues.stop(process) == 0
    orders.send(numbered(6, start=2))
    streams.xtrim(orders.name, maxlen=2, approximate=False)
    process = queues.listen()
    eventually(lambda: queues.accepted() == 4 and queues.count("lost") == 4, within_s=20)
    assert queues.numbers() == Counter([0, 1, 6, 7])
    assert queues.stop(process) == 0
    queues.listen()
    eventually(queues.is_running, within_s=20)
    orders.send(numbered(1, start=8))
    eventually(lambda: queues.accepted() == 5)
    assert queues.count("lost") == 0


def test_an_entry_delivered_too_often(queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually) -> None:
    """An entry whose listeners were lost `max_deliveries` times is a dead letter; the one behind it is taken."""
    queues.deploy(take=orders.trigger(max_deliveries=3))
    orders.send(numbered(1))
    streams.xgroup_create(orders.name, "oncue.take", "0")
    ((_, ((entry, _),)),) = streams.xreadgroup("oncue.take", "lost", {orders.name: ">"})
    for _ in range(2):
        streams.xclaim(orders.name, "oncue.take", "lost", 0, [entry])
    orders.send(numbered(1, start=1))
    queues.listen()
    eventually(lambda: queues.count("invalid") == 1 and queues.accepted() == 1, within_s=20)
    assert queues.numbers() == Counter([1])
    ((body, headers),) = orders.dead_letters()
    assert (body, headers["oncue-id"]) == (b'{"n": 0}', entry)
    assert headers["oncue-reason"] == "delivered 4 times without being handed over"


def test_dead_letters_that_are_not_taken(queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually) -> None:
    """What cannot be buried, since something else has the stream's name, is tried again and holds up nothing behind it."""
    queues.deploy(take=orders.trigger(max_deliveries=1, claim_idle_s=0.1, format="json"))
    streams.set(f"{orders.name}.dead", "no stream")
    orders.send([b"no", *numbered(1)])
    queues.listen()
    tried = "a dead letter could not be buried"
    eventually(lambda: queues.log.exists() and queues.log.read_text().count(tried) >= 3, within_s=20)
    assert queues.is_running()
    orders.send(numbered(1, start=1))
    eventually(lambda: queues.accepted() == 2)
    streams.delete(f"{orders.name}.dead")
    eventually(lambda: streams.exists(f"{orders.name}.dead"))
    eventually(lambda: orders.unsettled("take") == 0)
    queues.log.unlink()  # with the tracebacks of what it was told


def test_entries_from_before_the_group(queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually) -> None:
    """A new group begins with what is there; with `start="latest"` it begins with what comes."""
    orders.send(numbered(2))
    queues.deploy(take=orders.trigger(start="latest"), take_all=orders.trigger())
    queues.listen()
    eventually(lambda: queues.states() == ["running"] * 2 and queues.accepted() == 2, within_s=20)
    orders.send(numbered(1, start=2))
    eventually(lambda: queues.accepted() == 4)
    taken = Counter((record["function"], record["event"]["data"]["n"]) for record in queues.records())
    assert taken == Counter([("take", 2), ("take_all", 0), ("take_all", 1), ("take_all", 2)])


def test_a_stream_deleted_under_the_listener(
    queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually
) -> None:
    """The group is made anew, and what comes then is taken; also when it is deleted while the function's queue is full."""
    queues.deploy(take=orders.trigger(pause_above=3))
    queues.listen()
    eventually(queues.is_running, within_s=20)
    for n in range(2):
        streams.delete(orders.name)
        orders.send(numbered(3, start=3 * n))
        eventually(lambda n=n: queues.numbers()[3 * n + 2] == 1)
        eventually(lambda: orders.unsettled("take") == 0)
        for waiting in (1, 2):  # with the second one the listener has seen that the queue is full, and reads no more
            orders.send(numbered(1, start=100 + 2 * n + waiting))
            eventually(lambda waiting=waiting: streams.xpending(orders.name, "oncue.take")["pending"] == waiting)
        streams.delete(orders.name)
        queues.work(most=3)
        eventually(lambda n=n: queues.numbers()[102 + 2 * n] == 1)
        queues.work(most=3)
    assert queues.is_running()


def test_a_group_deleted_under_the_listener(
    queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually
) -> None:
    """It is made anew from the start of the stream; what was accepted before makes no second invocation."""
    queues.deploy(take=orders.trigger())
    orders.send(numbered(3))
    queues.listen()
    eventually(lambda: queues.accepted() == 3, within_s=20)
    for n in range(3, 6):
        streams.xgroup_destroy(orders.name, "oncue.take")
        orders.send(numbered(1, start=n))
        eventually(lambda n=n: queues.accepted() == n + 1)
    eventually(lambda: queues.count("duplicate") >= 9)
    assert queues.numbers() == Counter(range(6))
    assert queues.is_running()


def test_entries_of_any_size(queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually) -> None:
    """What exceeds the function's `max_body` is a dead letter, by its data or its fields; headers are cut, and count for nothing."""
    queues.deploy(take=orders.trigger())
    flood = {f"h{n}": "x" * 100 for n in range(12_000)}
    streams.xadd(orders.name, {"data": '{"n": 0, "big": "%s"}' % ("x" * 30_000_000)})
    streams.xadd(orders.name, flood)
    streams.xadd(orders.name, {**flood, "data": '{"n": 1}'})
    orders.send(numbered(1, start=2))
    queues.listen()
    eventually(lambda: queues.accepted() == 2 and queues.count("invalid") == 2, within_s=20)
    assert queues.numbers() == Counter([1, 2])
    assert max(len(record["event"]["extensions"]["queue.headers"]) for record in queues.records()) < 200
    reasons = [fields["oncue-reason"] for _, fields in streams.xrange(f"{orders.name}.dead")]
    assert all("exceed the function's max_body of 1,048,576" in reason for reason in reasons)


def test_a_source_killed_under_load(
    queues: Queues, orders: StreamCarrier, source_server: EmbeddedServer, eventually: Eventually
) -> None:
    """The listener idles until the source is back, and comes back by itself; each entry is accepted once."""
    queues.deploy(take=orders.trigger(pause_above=400))
    orders.send(numbered(3000))
    queues.listen()
    eventually(lambda: queues.accepted() >= 400, within_s=20)
    assert source_server.process is not None
    source_server.process.kill()
    source_server.process.wait()
    eventually(lambda: queues.states() == ["away"])
    source_server.start()

    def drained() -> bool:
        queues.work(most=200)
        return queues.accepted() == 3000

    eventually(drained, within_s=30)
    assert queues.numbers() == Counter(range(3000))


def test_a_key_that_is_no_stream(queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually) -> None:
    """The source is refused, with the reason, be it from the start or under the listener; another one goes on."""
    other = StreamCarrier(orders.address)
    queues.deploy(take=orders.trigger(), other=other.trigger())
    queues.listen()
    eventually(lambda: queues.states() == ["running", "running"], within_s=20)
    streams.delete(orders.name)
    streams.set(orders.name, "no stream")
    eventually(lambda: queues.states() == ["refused", "running"])
    assert any("WRONGTYPE" in status["reason"] for status in queues.statuses())
    other.send(numbered(1))
    eventually(lambda: queues.accepted() == 1)


def test_a_listener_told_to_stop_while_the_queue_is_full(
    queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually
) -> None:
    """What was read and could not be handed over may be taken over by others at once, and was not delivered."""
    queues.deploy(take=orders.trigger(pause_above=5, claim_idle_s=600))
    orders.send(numbered(30))
    process = queues.listen()
    eventually(lambda: queues.accepted() == 5, within_s=20)
    assert queues.stop(process) == 0
    pending = streams.xpending_range(orders.name, "oncue.take", "-", "+", 100)
    assert len(pending) == 25
    assert all(each["time_since_delivered"] >= 600_000 and each["times_delivered"] == 0 for each in pending)


@pytest.mark.parametrize("channel", ["orders", "ord*"], ids=["channel", "pattern"])
def test_pubsub(queues: Queues, streams: Any, eventually: Eventually, channel: str) -> None:
    """What is published while a listener listens is accepted, each message by itself; what cannot be read is dropped."""
    queues.deploy(take=QueueTrigger(url=f"redis+pubsub://main/{channel}", lossy=True, format="json"))
    queues.listen()
    eventually(queues.is_running, within_s=20)
    for body in ('{"n": 1}', "no", '{"n": 1}', '{"n": 2}'):
        assert streams.publish("orders", body) == 1
    eventually(lambda: queues.accepted() == 3 and queues.count("invalid") == 1)
    assert queues.numbers() == Counter({1: 2, 2: 1})
    assert {event["subject"] for event in queues.events()} == {"orders"}


def test_pubsub_whose_server_is_killed(
    queues: Queues, streams: Any, source_server: EmbeddedServer, eventually: Eventually
) -> None:
    """What is heard is accepted, each once and none between them lost; the listener comes back by itself, and hears on."""
    queues.deploy(take=QueueTrigger(url="redis+pubsub://main/orders", lossy=True))
    queues.listen()
    eventually(queues.is_running, within_s=20)
    for body in numbered(1000):
        assert streams.publish("orders", body) == 1
    eventually(lambda: queues.accepted() > 100)
    assert source_server.process is not None
    source_server.process.kill()
    source_server.process.wait()
    eventually(lambda: queues.states() == ["away"])
    source_server.start()
    eventually(lambda: streams.publish("orders", '{"n": 5000}') == 1, within_s=20)
    eventually(lambda: queues.numbers()[5000] == 1)
    assert queues.numbers() == Counter([*range(queues.accepted() - 1), 5000])


def test_a_wrong_password(queues: Queues, orders: StreamCarrier, streams: Any, eventually: Eventually) -> None:
    """The reason is reported, the password is not; once it is right the sources go on by themselves."""
    queues.connections["MAIN"] = orders.address.replace("unix://", "unix://:hunter2@")
    queues.deploy(take=orders.trigger(), heard=QueueTrigger(url="redis+pubsub://main/orders", lossy=True))
    streams.config_set("requirepass", "another")
    try:
        queues.listen()
        eventually(lambda: queues.states() == ["away", "away"], within_s=20)
        assert all("password" in status["reason"] for status in queues.statuses())
        assert "hunter2" not in queues.log.read_text() + str(queues.statuses())
        streams.config_set("requirepass", "hunter2")
        eventually(lambda: queues.states() == ["running", "running"], within_s=20)
    finally:
        streams.config_set("requirepass", "")
