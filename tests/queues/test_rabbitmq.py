"""What is RabbitMQ's own: declarations, bindings, the delivery limit, and a server that goes away."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pika
import pika.exceptions

from infra.rabbitmq_server import RabbitMQServer
from runtime.authoring.triggers import QueueTrigger
from tests.queues.carriers import RabbitCarrier, is_taken, numbered
from tests.queues.rig import Queues
from triggers.queues.rabbitmq import PREFETCH

Eventually = Callable[..., object]


def test_a_queue_is_made_with_its_exchange_and_dead_letters(
    queues: Queues, rabbit: RabbitCarrier, rabbitmq_server: RabbitMQServer, channel: Any, eventually: Eventually
) -> None:
    """A source that finds nothing declares a durable quorum queue with a delivery limit, its binding, and its dead letters."""
    exchange = f"events-{uuid4().hex[:8]}"
    queues.deploy(take=rabbit.trigger(bind=(exchange, "order.*"), delivery_limit=7, dead_letter=f"{rabbit.name}.lost"))
    queues.listen()
    eventually(queues.is_running, within_s=20)
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


def test_an_exchange_that_is_there_is_taken_as_it_is(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """A binding to an exchange of another type than topic works as that type does."""
    exchange = f"all-{uuid4().hex[:8]}"
    channel.exchange_declare(exchange, "fanout")
    queues.deploy(take=rabbit.trigger(bind=(exchange, "")))
    queues.listen()
    eventually(queues.is_running, within_s=20)
    eventually(lambda: is_taken(channel, "any key", b'{"n": 1}', exchange=exchange))
    eventually(lambda: queues.numbers()[1] > 0)


def test_a_message_delivered_more_often_than_its_limit(queues: Queues, rabbit: RabbitCarrier, eventually: Eventually) -> None:
    """A quorum queue gives it up after `delivery_limit` repeats; it is kept among the dead letters."""
    queues.deploy(take=rabbit.trigger(delivery_limit=2))
    process = queues.listen()
    eventually(queues.is_running, within_s=20)
    assert queues.stop(process) == 0
    rabbit.send(numbered(1))
    for _ in range(3):
        process = queues.listen(kill_after=1)
        eventually(lambda process=process: process.poll() is not None, within_s=20)
    eventually(lambda: [body for body, _ in rabbit.dead_letters()] == numbered(1))
    assert rabbit.unsettled("take") == 0


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
    eventually(queues.is_running, within_s=20)
    rabbit.send([b"no", b'{"n": 1}'])
    eventually(lambda: queues.accepted() == 1 and queues.count("invalid") == 1)
    assert [body for body, _ in rabbit.dead_letters()] == [b"no"]


def test_what_its_producer_sent_twice(queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually) -> None:
    """A message id counts once, however often it comes; messages without an id all count."""
    queues.deploy(take=rabbit.trigger())
    queues.listen()
    eventually(queues.is_running, within_s=20)
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
    eventually(queues.is_running, within_s=20)
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
    eventually(queues.is_running, within_s=20)
    channel.queue_delete(rabbit.name)
    eventually(lambda: "was deleted" in queues.log.read_text())
    eventually(lambda: rabbit.is_there(rabbit.name))
    eventually(lambda: is_taken(channel, rabbit.name, b'{"n": 1}'))
    eventually(lambda: queues.accepted() == 1)


def test_a_wrong_password(queues: Queues, rabbit: RabbitCarrier, eventually: Eventually) -> None:
    """The refusal is reported without the password."""
    queues.connections["MAIN"] = rabbit.address.replace("guest:guest", "guest:hunter2")
    queues.deploy(take=rabbit.trigger())
    queues.listen()
    eventually(lambda: queues.states() == ["refused"], within_s=20)
    assert "hunter2" not in queues.log.read_text() + str(queues.statuses())


def test_a_listener_told_to_stop_while_the_queue_is_full(queues: Queues, rabbit: RabbitCarrier, eventually: Eventually) -> None:
    """What was delivered, `prefetch` messages at most, and could not be handed over goes back to the queue, at once."""
    queues.deploy(take=rabbit.trigger(pause_above=5, prefetch=7))
    rabbit.send(numbered(30))
    process = queues.listen()
    eventually(lambda: queues.accepted() == 5, within_s=20)
    eventually(lambda: rabbit.unsettled("take") == 30 - 5 - 7)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert rabbit.unsettled("take") == 25


def test_messages_that_cannot_be_handed_over_for_long(
    queues: Queues, rabbit: RabbitCarrier, rabbitmq_server: RabbitMQServer, eventually: Eventually
) -> None:
    """They go back to the queue again and again; no message does so often enough to be given up for it.

    Fewer are sent ahead meanwhile, and as many as before once hand-offs are not held up any more.
    """
    queues.deploy(take=rabbit.trigger(pause_above=5, delivery_limit=2))
    process = queues.listen()
    eventually(queues.is_running, within_s=20)
    assert queues.stop(process) == 0
    rabbit.send(numbered(20))
    queues.listen(return_after_s=0.2)
    for accepted in (5, 10, 15, 20):
        eventually(
            lambda accepted=accepted: queues.accepted() == accepted and rabbit.unsettled("take") == 20 - accepted, within_s=20
        )
        queues.work(most=5)
    assert queues.numbers() == Counter(range(20))
    assert rabbit.dead_letters() == []
    ahead = (
        '[proplists:get_value(prefetch_count, Each) || Each <- rabbit_amqqueue:consumers_all(<<"/">>), '
        f'proplists:get_value(queue_name, Each) =:= rabbit_misc:r(<<"/">>, queue, <<"{rabbit.name}">>)]'
    )
    eventually(lambda: rabbitmq_server.evaluate(ahead).strip() == f"[{PREFETCH}]")


def test_trigger_for_a_queue_whose_name_has_a_slash(
    queues: Queues, rabbit: RabbitCarrier, channel: Any, eventually: Eventually
) -> None:
    """The name is everything behind the connection, percent-encoding undone."""
    channel.queue_declare(f"{rabbit.name}/a b", durable=True)
    queues.deploy(take=QueueTrigger(url=f"rabbitmq://main/{rabbit.name}/a%20b"))
    queues.listen()
    channel.basic_publish("", f"{rabbit.name}/a b", b'{"n": 1}')
    eventually(lambda: queues.accepted() == 1, within_s=20)
