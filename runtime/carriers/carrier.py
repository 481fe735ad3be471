"""What both carriers are to a worker: a Dramatiq broker that holds claims, and lets go of them.

A message reaches its actor with the `Claim` as its one argument: within the process, so that it is never encoded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, NoReturn

from dramatiq import Actor, Broker, Message, MessageProxy

from runtime.carriers.holdings import Holdings
from runtime.ledger.keys import queue_of
from runtime.ledger.ledger import Ledger
from runtime.ledger.records import Claim, Verdict
from runtime.ledger.wire import LedgerUnavailableError

#: The name of a queue's one actor.
ACTOR = "invoke_{queue}"


class Carrier(Broker):
    """Delivers claims of the ledger's queues to Dramatiq's Worker, one actor per queue.

    No middleware is installed: state changes in the ledger alone.
    """

    #: what is held of each queue that is carried
    queues: dict[str, Holdings]

    def __init__(self, ledger: Ledger, consumer: str, *, threads: int, **options: Any) -> None:
        super().__init__(middleware=[], **options)
        self.ledger = ledger
        #: this worker's name in the ledger
        self.consumer = consumer
        self._threads = threads
        self.queues = {}
        self._holdings: dict[str, Holdings] = {}

    def holdings(self, queue_name: str) -> Holdings:
        """Return what this process holds of a queue, which need not be declared yet."""
        return self._holdings.setdefault(queue_name, Holdings(self._threads))

    def declare_actor(self, actor: Actor[Any, Any]) -> None:
        """Declare a queue's actor and then the queue: a running Worker consumes it at once, and needs the actor."""
        self.emit_before("declare_actor", actor)
        self.actors[actor.actor_name] = actor
        self.declare_queue(actor.queue_name)
        self.emit_after("declare_actor", actor)

    def declare_queue(self, queue_name: str) -> None:
        """Carry a queue from now on; a running Worker starts to consume it."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = self.holdings(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> NoReturn:
        """Refuse: work enters through the ledger's accept, which writes record and queue entry together."""
        raise NotImplementedError(f"{message} cannot be enqueued: invocations enter through the ledger's accept")

    def release(self, verdicts: Iterable[Verdict]) -> None:
        """Let go of claims whose verdicts are written."""
        by_queue: dict[str, list[Claim]] = {}
        for verdict in verdicts:
            by_queue.setdefault(verdict.claim.queue, []).append(verdict.claim)
        for queue, claims in by_queue.items():
            self.queues[queue].release(claims)

    def withdraw(self, invocation_id: str) -> bool:
        """Hand back what is to be cancelled and has not started, which ends it; False when nothing of it waits here."""
        holdings = self.queues.get(queue_of(invocation_id) or "")
        claim = holdings.waiting(invocation_id) if holdings is not None else None
        if holdings is None or claim is None or not holdings.forget(claim):
            return False
        with contextlib.suppress(LedgerUnavailableError):  # its lease runs out instead
            self.ledger.hand_back(claim.queue, [claim])
        return True

    def stop_intake(self) -> int:
        """Fetch nothing more and hand back what has not started; return how many went back."""
        count = 0
        for queue, holdings in self.queues.items():
            waiting = holdings.stop()
            if waiting:
                try:
                    count += self.ledger.hand_back(queue, waiting)
                except LedgerUnavailableError:
                    continue  # their leases run out instead
        return count


def carried(claim: Claim) -> MessageProxy:
    """Return a claim as the message that Dramatiq's Worker hands to the actor of its queue."""
    return MessageProxy(
        Message(
            queue_name=claim.queue,
            actor_name=ACTOR.format(queue=claim.queue),
            args=(claim,),
            kwargs={},
            options={},
            message_id=claim.id,
            message_timestamp=claim.accepted_ms,
        )
    )
