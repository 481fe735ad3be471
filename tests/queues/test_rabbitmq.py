"""What is RabbitMQ's own: declarations, bindings, the delivery limit, and a server that goes away."""

from __future__ import annotations

import signal
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pika
import pika.exceptions
import pytest

from infra.rabbitmq_server import RabbitMQServer
from runtime.authoring.triggers import QueueTrigger
from tests.queues.carriers import RabbitCarrier, numbered
from tests.queues.rig import Queues

Eventually = Callable[..., object]


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


def running(queues: Queues) -> bool:
    return queues.states() == ["running"]


def test_a_queue_is_made_with_its_exchange_and_dead_letters(
    queues: Queues, rabbit: RabbitCarrier, rabbitmq_server: RabbitMQServer, channel: Any, eventually: Eventually
) -> None:
    """A source that finds nothing declares a durable quorum queue with a delivery limit, its binding, and its dead letters."""
    exchange = f"events-{uuid4().hex[:8]}"
    queues.deploy(take=rabbit.trigger(bind=(exchange, "order.*"), delivery_limit=7, dead_letter=f"{rabbit.name}.lost"))
    queues.listen()
    eventually(lambda: running(queues), within_s=20)
    told = rabbitmq_server.evaluate(
        f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{rabbit.name}">>)), amqqueue:get_arguments(Q)'
    )
    assert '<<"x-queue-type">>,longstr,<<"quorum">>' in told
    assert '<<"x-delivery-limit">>' in told
    assert f'<<"{rabbit.name}.lost">>' in told
    assert '<<"at-least-once">>' in told
    channel.basic_publish(exchange, "order.new", b'{"n": 1}', pika.BasicProperties(content_type="application/json"))
    channel.basic_publish(exchange, "other", b'{"n": 2}')
    eventually(lambda: queues.accepted() == 1)
    (event,) = queues.events()
    assert event["subject"] == "order.new"
    assert event["extensions"]["queue.exchange"] == exchange


def test_a_queue_that_is_there_is_taken_as_it_is(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """Without options that say how it has to be, a queue with other arguments is consumed."""
    channel.queue_declare(rabbit.name, durable=True, arguments={"x-max-length": 100})
    queues.deploy(take=rabbit.trigger())
    queues.listen()
    channel.basic_publish("", rabbit.name, b'{"n": 1}')
    eventually(lambda: queues.accepted() == 1, within_s=20)


def test_a_queue_with_other_arguments_than_the_source_says(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """The source is refused in one sentence with the cure; other sources of the process go on."""
    other = RabbitCarrier(rabbit.address)
    channel.queue_declare(rabbit.name, durable=True)
    queues.deploy(refused=rabbit.trigger(queue_type="quorum"), take=other.trigger())
    queues.listen()
    other.send(numbered(1))
    eventually(lambda: queues.accepted() == 1 and queues.states() == ["refused", "running"], within_s=20)
    (reason,) = [status["reason"] for status in queues.statuses() if status["state"] == "refused"]
    assert f"the queue {rabbit.name!r} is there with other arguments; leave queue_type" in reason


def test_a_classic_queue(queues: Queues, rabbit: RabbitCarrier, eventually: Eventually) -> None:
    """`queue_type="classic"` declares one, and its dead letters are kept, too."""
    queues.deploy(take=rabbit.trigger(queue_type="classic", format="json"))
    queues.listen()
    eventually(lambda: running(queues), within_s=20)
    rabbit.send([b"no", b'{"n": 1}'])
    eventually(lambda: queues.accepted() == 1 and queues.count("invalid") == 1)
    assert [body for body, _ in rabbit.dead_letters()] == [b"no"]


def test_what_its_producer_sent_twice(queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually) -> None:
    """A message id counts once, however often it comes; messages without an id all count."""
    queues.deploy(take=rabbit.trigger())
    queues.listen()
    eventually(lambda: running(queues), within_s=20)
    for _ in range(5):
        channel.basic_publish("", rabbit.name, b'{"n": 1}', pika.BasicProperties(message_id="one"))
    for _ in range(2):
        channel.basic_publish("", rabbit.name, b'{"n": 2}')
    eventually(lambda: queues.count("duplicate") == 4 and queues.accepted() == 3)
    assert queues.numbers() == Counter({1: 1, 2: 2})


def test_a_server_killed_under_load(
    queues: Queues, rabbit: RabbitCarrier, rabbitmq_server: RabbitMQServer, eventually: Eventually
) -> None:
    """The listener comes back by itself; what RabbitMQ had taken over before it was killed is accepted once."""
    queues.deploy(take=rabbit.trigger(prefetch=50))
    queues.listen()
    eventually(lambda: running(queues), within_s=20)
    confirmed: list[int] = []

    def produce() -> None:
        try:
            with rabbit.connect() as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                for number in range(100_000):
                    properties = pika.BasicProperties(message_id=str(number), delivery_mode=2)
                    channel.basic_publish("", rabbit.name, b'{"n": %d}' % number, properties)
                    confirmed.append(number)
        except pika.exceptions.AMQPError:
            return

    producer = threading.Thread(target=produce)
    producer.start()
    eventually(lambda: queues.accepted() > 100, within_s=20)
    rabbitmq_server.kill()
    producer.join(30)
    eventually(lambda: queues.states() == ["away"])
    rabbitmq_server.start()
    rabbit.send(numbered(10, start=200_000))
    eventually(lambda: not (set(confirmed) | set(range(200_000, 200_010))) - set(queues.numbers()), within_s=30)
    assert max(queues.numbers().values()) == 1


def test_a_queue_deleted_under_the_listener(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """The queue is declared anew, and its messages are taken."""
    queues.deploy(take=rabbit.trigger())
    queues.listen()
    eventually(lambda: running(queues), within_s=20)
    channel.queue_delete(rabbit.name)
    eventually(lambda: "was deleted" in queues.log.read_text())
    eventually(lambda: rabbit.is_there(rabbit.name))
    eventually(lambda: is_taken(channel, rabbit.name, b'{"n": 1}'))
    eventually(lambda: queues.accepted() == 1)


def is_taken(channel: Any, queue: str, body: bytes, properties: pika.BasicProperties | None = None) -> bool:
    """Publish a message; False when the queue refuses it, as a new quorum queue does until it has a leader."""
    try:
        channel.basic_publish("", queue, body, properties)
    except pika.exceptions.NackError:
        return False
    return True


class Written(bytes):
    """A header's value as it stands on the wire: its kind and its bytes."""


@pytest.fixture
def writes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pika write `Written` values, as other clients do; it can read more kinds than it can write."""
    strict = pika.data.encode_value

    def encode_value(pieces: list[bytes], value: object) -> int:
        if not isinstance(value, Written):
            return int(strict(pieces, value))
        pieces.append(bytes(value))
        return len(value)

    monkeypatch.setattr(pika.data, "encode_value", encode_value)


@pytest.mark.usefixtures("writes_anything")
def test_headers_and_properties_of_other_clients(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """Times beyond the year 9999, numbers pika cannot write, and texts that are no UTF-8 hold nobody up; all can be dead letters."""
    headers = {
        "at": Written(struct.pack(">cQ", b"T", 1_790_000_000_000)),
        "never": Written(struct.pack(">cQ", b"T", 2**64 - 1)),
        "rate": Written(struct.pack(">cd", b"d", 0.5)),
        "nested": {"list": [1, None, Written(struct.pack(">cf", b"f", 0.25))]},
        "raw": b"\xff",
    }
    strange: list[dict[str, Any]] = [
        {"headers": headers},
        {"message_id": b"\xff\xfe"},
        {"timestamp": 2**63},
        {"correlation_id": b"\xff", "type": b"\xff"},
        {"content_type": b"\xff/json", "content_encoding": "gzip"},
    ]
    rabbit.send(numbered(20))
    for n, properties in enumerate(strange):
        for body in (b'{"n": %d}' % (100 + n), b"no"):
            channel.basic_publish("", rabbit.name, body, pika.BasicProperties(**properties))
    rabbit.send(numbered(20, start=20))
    queues.deploy(take=rabbit.trigger(format="json"))
    queues.listen()
    eventually(lambda: queues.accepted() == 45 and queues.count("invalid") == 5, within_s=20)
    assert queues.numbers() == Counter([*range(40), *range(100, 105)])
    (event,) = [each for each in queues.events() if each["data"] == {"n": 100}]
    told = event["extensions"]["queue.headers"]
    assert (told["at"], told["rate"], told["nested"], told["raw"]) == (
        "1790000000000",
        0.5,
        {"list": [1, None, 0.25]},
        "\ufffd",
    )
    assert [body for body, _ in rabbit.dead_letters()] == [b"no"] * 5


def test_more_headers_than_a_dead_letter_can_hold(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """A message's properties fill one frame; with the reason beside them they would not fit, so the reason is kept."""
    queues.deploy(take=rabbit.trigger(format="json"))
    queues.listen()
    eventually(lambda: running(queues), within_s=20)
    properties = pika.BasicProperties(message_id="one", headers={f"h{n}": "x" * 100 for n in range(1150)})
    eventually(lambda: is_taken(channel, rabbit.name, b"no", properties))
    eventually(lambda: queues.count("invalid") == 1)
    ((body, headers),) = rabbit.dead_letters()
    assert (body, headers["oncue-source"]) == (b"no", rabbit.url)
    assert "h0" not in headers


def test_a_dead_letter_of_another_user_with_copies(
    queues: Queues, rabbit: RabbitCarrier, rabbitmq_server: RabbitMQServer, channel: Any, eventually: Eventually
) -> None:
    """It is taken though its user is not the listener's, which is told in a header, and goes to nobody else again."""
    rabbitmq_server.evaluate('rabbit_auth_backend_internal:add_user(<<"shop">>, <<"shop">>, <<"tests">>)')
    rights = ", ".join(['<<".*">>'] * 3)
    rabbitmq_server.evaluate(f'rabbit_auth_backend_internal:set_permissions(<<"shop">>, <<"/">>, {rights}, <<"tests">>)')
    copies = f"{rabbit.name}.copies"
    channel.queue_declare(copies, durable=True)
    queues.deploy(take=rabbit.trigger(format="json"))
    queues.listen()
    eventually(lambda: running(queues), within_s=20)
    shop = RabbitCarrier(rabbit.address.replace("guest:guest", "shop:shop"))
    with shop.connect() as connection:
        properties = pika.BasicProperties(user_id="shop", headers={"CC": [copies], "mine": 1})
        eventually(lambda: is_taken(connection.channel(), rabbit.name, b"no", properties))
    eventually(lambda: queues.count("invalid") == 1)
    ((body, headers),) = rabbit.dead_letters()
    assert (body, headers["mine"], headers["oncue-user-id"], "CC" in headers) == (b"no", "1", "shop", False)
    assert channel.queue_declare(copies, passive=True).method.message_count == 1


def test_the_dead_letter_queue_deleted_under_the_listener(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """It is declared anew, and no dead letter is lost."""
    queues.deploy(take=rabbit.trigger(format="json"))
    queues.listen()
    eventually(lambda: running(queues), within_s=20)
    channel.queue_delete(f"{rabbit.name}.dead")
    rabbit.send([b"one", b"two", b'{"n": 1}'])
    eventually(lambda: queues.accepted() == 1 and queues.count("invalid") == 2, within_s=20)
    assert {body for body, _ in rabbit.dead_letters()} == {b"one", b"two"}


def test_a_wrong_password(queues: Queues, rabbit: RabbitCarrier, eventually: Eventually) -> None:
    """The refusal is reported without the password."""
    queues.connections["MAIN"] = rabbit.address.replace("guest:guest", "guest:hunter2")
    queues.deploy(take=rabbit.trigger())
    queues.listen()
    eventually(lambda: queues.states() == ["refused"], within_s=20)
    assert "hunter2" not in queues.log.read_text() + str(queues.statuses())


def test_a_listener_told_to_stop_while_the_queue_is_full(queues: Queues, rabbit: RabbitCarrier, eventually: Eventually) -> None:
    """What was delivered and could not be handed over goes back to the queue, at once."""
    queues.deploy(take=rabbit.trigger(pause_above=5))
    rabbit.send(numbered(30))
    process: subprocess.Popen[bytes] = queues.listen()
    eventually(lambda: queues.accepted() == 5, within_s=20)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert rabbit.unsettled("take") == 25


def test_trigger_for_a_queue_whose_name_has_a_slash(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """The name is everything behind the connection, percent-encoding undone."""
    channel.queue_declare(f"{rabbit.name}/a b", durable=True)
    queues.deploy(take=QueueTrigger(url=f"rabbitmq://main/{rabbit.name}/a%20b"))
    queues.listen()
    channel.basic_publish("", f"{rabbit.name}/a b", b'{"n": 1}')
    eventually(lambda: queues.accepted() == 1, within_s=20)
