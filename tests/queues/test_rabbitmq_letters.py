"""What other clients of RabbitMQ send: headers and properties of any kind, which a dead letter keeps where it can."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import pika
import pytest

from infra.rabbitmq_server import RabbitMQServer
from tests.queues.carriers import RabbitCarrier, is_taken, numbered
from tests.queues.rig import Queues
from triggers.queues.amqp_values import MAX_DEPTH

Eventually = Callable[..., object]


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


def nested(levels: int) -> Written:
    """A table in a table in a table."""
    table = b""
    for _ in range(levels):
        table = b"\x01kF" + struct.pack(">I", len(table)) + table
    return Written(b"F" + struct.pack(">I", len(table)) + table)


@pytest.mark.usefixtures("writes_anything")
def test_headers_and_properties_of_other_clients(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """Times beyond the year 9999, numbers pika cannot write, tables nested without end, and texts that are no UTF-8 hold nobody up;
    all can be dead letters.
    """
    headers = {
        "at": Written(struct.pack(">cQ", b"T", 1_790_000_000_000)),
        "never": Written(struct.pack(">cQ", b"T", 2**64 - 1)),
        "rate": Written(struct.pack(">cd", b"d", 0.5)),
        "nested": {"list": [1, None, Written(struct.pack(">cf", b"f", 0.25))]},
        "raw": b"\xff",
        b"\xffname": 1,
        "deep": nested(8000),
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
    assert (told["at"], told["rate"], told["nested"], told["raw"], told["\ufffdname"]) == (
        "1790000000000",
        0.5,
        {"list": [1, None, 0.25]},
        "\ufffd",
        1,
    )
    assert str(told["deep"]).count("{") == MAX_DEPTH
    assert [body for body, _ in rabbit.dead_letters()] == [b"no"] * 5


def test_more_headers_than_a_dead_letter_can_hold(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """A message's properties fill one frame; with the reason beside them they would not fit, so the reason is kept."""
    queues.deploy(take=rabbit.trigger(format="json"))
    queues.listen()
    eventually(queues.is_running, within_s=20)
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
    eventually(queues.is_running, within_s=20)
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
    eventually(queues.is_running, within_s=20)
    channel.queue_delete(f"{rabbit.name}.dead")
    rabbit.send([b"one", b"two", b'{"n": 1}'])
    eventually(lambda: queues.accepted() == 1 and queues.count("invalid") == 2, within_s=20)
    assert {body for body, _ in rabbit.dead_letters()} == {b"one", b"two"}
