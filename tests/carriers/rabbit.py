"""RabbitMQ from outside: what its queues hold, and messages put into them by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika

from infra.rabbitmq_server import RabbitMQServer

#: What the tests run.
CODE = """
@function
def double(n: int) -> int:
    return n * 2

@function
def mark(path: str, seconds: float = 0.0, *, ctx: Context) -> str:
    with open(path, "a") as file:
        file.write(f"{ctx.id}\\n")
    time.sleep(seconds)
    return "done"

@function(queue="media", backoff_min=0.01, retries=2)
def flaky(ctx: Context) -> int:
    if ctx.attempt < 3:
        raise Retry("not yet", after=0.01)
    return ctx.attempt

@function
def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.005)
    return "seen"
"""


class Rabbit:
    """A RabbitMQ server, empty, as somebody else's client sees it."""

    def __init__(self, server: RabbitMQServer) -> None:
        self.server = server
        self.url = server.url
        self.empty()

    @contextmanager
    def channel(self) -> Iterator[Any]:
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    def empty(self) -> None:
        """Delete the queues."""
        with self.channel() as channel:
            for queue in ("default", "media"):
                channel.queue_delete(f"oncue.{queue}")

    def put(self, *bodies: bytes, queue: str = "default") -> None:
        """Publish messages as they are; RabbitMQ has taken them when this returns."""
        with self.channel() as channel:
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish("", f"oncue.{queue}", body, mandatory=True)

    def messages(self, queue: str = "default") -> int:
        """How many messages a queue has, those that are delivered and not acknowledged among them."""
        name = f'rabbit_misc:r(<<"/">>, queue, <<"oncue.{queue}">>)'
        found = self.server.evaluate(f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), rabbit_amqqueue:info(Q, [messages])")
        return int(found.strip("[{}]").removeprefix("messages,"))
