"""Where a queue is in RabbitMQ: its name, its arguments, and how to connect to it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pika  # type: ignore[import-untyped]  # it comes without types

from runtime.carriers.rabbit_confirms import BLOCKED_S, ConfirmingChannel

#: The name of a queue in RabbitMQ.
NAME = "oncue.{queue}"

#: Replicated and written to disk before it is confirmed. Poison is judged by the ledger alone, which knows why an
#: attempt ended; but RabbitMQ 4 drops a message after 20 deliveries unless it is told otherwise.
ARGUMENTS: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}

#: Seconds without a sign of life after which a connection is dead, unless the URL says otherwise.
HEARTBEAT_S = 30

#: Seconds to reach the server, and to open a connection once it is reached.
CONNECT_WITHIN_S = 5.0
OPEN_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class RabbitQueue:
    """One queue of the ledger, as RabbitMQ knows it."""

    queue: str
    #: the nodes of one cluster; each connection goes to one of them
    nodes: Sequence[pika.connection.Parameters]

    @property
    def name(self) -> str:
        return NAME.format(queue=self.queue)

    def consuming_channel(self) -> Any:
        """Open a connection with a channel to consume from, the queue declared.

        Raises:
            pika.exceptions.AMQPError: RabbitMQ is away, or has a queue of this name that is of another kind.
        """
        connection = pika.BlockingConnection(self._node())
        try:
            channel = connection.channel()
            channel.queue_declare(self.name, durable=True, arguments=ARGUMENTS)
            return channel
        except pika.exceptions.AMQPChannelError:
            connection.close()
            raise

    def confirming_channel(self) -> ConfirmingChannel:
        """Return a channel to publish to this queue, not open yet."""
        return ConfirmingChannel(self._node(), self.name, ARGUMENTS)

    def _node(self) -> pika.connection.Parameters:
        return random.choice(self.nodes)  # noqa: S311  # spreads connections, guards nothing


def nodes_of(parameters: Any) -> list[pika.connection.Parameters]:
    """Return the connection parameters that Dramatiq has read from a URL (or several, with ";" between), with our times."""
    nodes = list(parameters) if isinstance(parameters, list) else [parameters]
    for node in nodes:
        if node.heartbeat is None:
            node.heartbeat = HEARTBEAT_S
        node.blocked_connection_timeout = BLOCKED_S
        node.connection_attempts = 1
        node.socket_timeout = CONNECT_WITHIN_S
        node.stack_timeout = OPEN_WITHIN_S
    return nodes
