"""The Redis carrier: a `dramatiq.Broker` over the ledger's own streams.

Messages enter a stream only through `accept`, `promote` and `hand_back`, and leave it only through `finish`,
each within one script; so the broker reads, and has nothing to enqueue or to acknowledge. A fetch waits in
XREADGROUP until there is work (no polling) and claims all that was delivered in one script call.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import structlog
from dramatiq import Actor, Broker, Consumer, Message, MessageProxy
from dramatiq.errors import QueueNotFound

from runtime.carriers.holdings import Holdings
from runtime.ledger.ledger import Delivery, Ledger
from runtime.ledger.records import Claim, Verdict
from runtime.ledger.wire import LedgerUnavailableError

#: Seconds between two looks for claims whose worker let its lease run out.
TAKEOVER_S = 1.0

#: The name of a queue's one actor.
ACTOR = "invoke_{queue}"

#: Called for a running claim that must end: (claim, "stale" | "cancel").
LetGo = Callable[[Claim, str], None]


class RedisStreamsBroker(Broker):
    """Delivers claims of the ledger's queues to Dramatiq's Worker, one actor per queue.

    The actor receives the `Claim`. No middleware is installed: state changes in the ledger alone.
    """

    def __init__(self, ledger: Ledger, consumer: str, *, threads: int) -> None:
        super().__init__(middleware=[])
        self.ledger = ledger
        self.consumer = consumer
        self._threads = threads
        self.queues: dict[str, Holdings] = {}
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

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Return the consumer of a queue; `timeout` (ms) bounds each wait. Holdings decide how much is fetched."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]  # dramatiq leaves its errors untyped
        return _StreamConsumer(self.ledger, queue_name, self.consumer, self.queues[queue_name], timeout / 1000)

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


class _StreamConsumer(Consumer):
    def __init__(self, ledger: Ledger, queue: str, consumer: str, holdings: Holdings, timeout_s: float) -> None:
        self._ledger = ledger
        self._queue = queue
        self._consumer = consumer
        self._holdings = holdings
        self._timeout_s = timeout_s
        self._fetched: deque[Claim] = deque()
        #: delivered, but not claimed because Redis went away in between
        self._unclaimed: list[Delivery] = []
        self._has_backlog = False
        self._next_takeover = 0.0
        self._is_declared = False
        self._pause_s = 0.0
        self._log = structlog.get_logger("oncue.carrier").bind(queue=queue)

    def __next__(self) -> MessageProxy | None:
        if not self._fetched:
            room = self._holdings.await_room(self._timeout_s)
            if room <= 0:
                return None
            try:
                self._fetch(room)
            except LedgerUnavailableError as error:
                self._rest(error)
                return None
        if not self._fetched:
            return None
        claim = self._fetched.popleft()
        # The claim travels as the actor's argument: within the process, so it is never encoded.
        return MessageProxy(
            Message(
                queue_name=self._queue,
                actor_name=ACTOR.format(queue=self._queue),
                args=(claim,),
                kwargs={},
                options={},
                message_id=claim.id,
                message_timestamp=claim.accepted_ms,
            )
        )

    def _fetch(self, room: int) -> None:
        if not self._is_declared:
            self._ledger.declare(self._queue)
            self._is_declared = True
        if not self._unclaimed and not self._has_backlog:
            self._unclaimed = self._ledger.deliveries(
                self._queue, self._consumer, count=room, block_s=min(self._timeout_s, TAKEOVER_S)
            )
        now = time.monotonic()
        read = room if self._has_backlog and not self._unclaimed else 0
        take_over = max(0, room - len(self._unclaimed)) if now >= self._next_takeover else 0
        if self._unclaimed or read or take_over:
            claims = self._ledger.claim(self._queue, self._consumer, self._unclaimed, read=read, take_over=take_over)
            # A full fetch means that more waits: the next one reads and claims in a single script.
            self._has_backlog = len(self._unclaimed) == room or (read > 0 and len(claims) >= room)
            self._unclaimed = []
            if take_over:
                self._next_takeover = now + TAKEOVER_S
            if self._holdings.take(claims):
                self._fetched.extend(claims)
            elif claims:
                self._ledger.hand_back(self._queue, claims)
        if self._pause_s:
            self._pause_s = 0.0
            self._log.info("Redis is back")

    def _rest(self, error: LedgerUnavailableError) -> None:
        if not self._pause_s:
            self._log.warning("nothing can be fetched until Redis is back", reason=str(error))
        self._pause_s = min(max(self._pause_s * 2, 0.05), 1.0)
        time.sleep(self._pause_s)

    def ack(self, message: MessageProxy) -> None:
        """Do nothing: `finish` has removed the entry together with writing the outcome."""

    def nack(self, message: MessageProxy) -> None:
        """Do nothing, as for `ack`."""

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Do nothing: `stop_intake` has handed back what did not start."""

    def close(self) -> None:
        """Nothing to close: connections belong to the ledger."""


class LeaseKeeper:
    """Renews the leases of all that a broker holds, and lets go of what the ledger gave to another."""

    def __init__(self, broker: RedisStreamsBroker, let_go: LetGo) -> None:
        self._broker = broker
        self._let_go = let_go
        self._stopping = threading.Event()
        self._log = structlog.get_logger("oncue.leases")
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop renewing."""
        self._stopping.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._broker.ledger.lease_s / 3):
            for queue, holdings in list(self._broker.queues.items()):
                claims = holdings.all()
                if not claims:
                    continue
                try:
                    gone = self._broker.ledger.renew(queue, self._broker.consumer, claims)
                except LedgerUnavailableError as error:
                    self._log.warning("leases are not renewed while Redis is away", queue=queue, reason=str(error))
                    continue
                for claim, why in gone:
                    self._let_go(claim, why)


class Promoter:
    """Moves what is due from a queue's waiting set into its stream, in a thread of its own.

    Any number of promoters may run: each promotion is one script. A promoter sleeps until the next member is
    due, or until the set has a new earliest one; a second passes at the most, should another promoter die.
    """

    def __init__(self, ledger: Ledger, queue: str) -> None:
        self._ledger = ledger
        self._queue = queue
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"promoter-{queue}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop promoting; the thread ends within a second."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                _, next_s = self._ledger.promote(self._queue)
                if next_s is None or next_s > 0:
                    self._ledger.await_wake(self._queue, min(1.0, next_s if next_s is not None else 1.0))
            except LedgerUnavailableError:
                self._stopping.wait(0.5)
