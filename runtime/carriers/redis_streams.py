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

import structlog
from dramatiq import Consumer, MessageProxy
from dramatiq.errors import QueueNotFound

from runtime.carriers.carrier import Carrier, carried
from runtime.carriers.holdings import Holdings
from runtime.ledger.ledger import Delivery, Ledger
from runtime.ledger.records import Claim
from runtime.ledger.wire import LedgerUnavailableError

#: Seconds between two looks for claims whose worker let its lease run out; half a lease, where that is shorter.
TAKEOVER_S = 1.0

#: Called for a running claim that must end: (claim, "stale" | "cancel").
LetGo = Callable[[Claim, str], None]


class RedisStreamsBroker(Carrier):
    """Delivers claims of the ledger's queues to Dramatiq's Worker, one actor per queue."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Return the consumer of a queue; `timeout` (ms) bounds each wait. Holdings decide how much is fetched."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]  # dramatiq leaves its errors untyped
        return _StreamConsumer(self.ledger, queue_name, self.consumer, self.queues[queue_name], timeout / 1000)


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
        self._takeover_s = min(TAKEOVER_S, ledger.lease_s / 2)
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
            except Exception:
                if not self._fetched:
                    raise  # else it comes again with the next fetch, and what was claimed before it goes first
        return carried(self._fetched.popleft()) if self._fetched else None

    def _fetch(self, room: int) -> None:
        if not self._is_declared:
            self._ledger.declare(self._queue)
            self._is_declared = True
        if not self._unclaimed and not self._has_backlog:
            self._unclaimed = self._ledger.deliveries(
                self._queue, self._consumer, count=room, block_s=min(self._timeout_s, self._takeover_s)
            )
        read = room if self._has_backlog and not self._unclaimed else 0
        take_over = room - len(self._unclaimed)
        if self._unclaimed or read:
            claims = self._ledger.claim(self._queue, self._consumer, self._unclaimed, read=read)
            # A full fetch means that more waits: the next one reads and claims in a single script.
            self._has_backlog = len(self._unclaimed) == room or (read > 0 and len(claims) >= room)
            self._unclaimed = []
            self._hold(claims)
        # By a call of its own right after an answer: one that is sent into a standstill of Redis would find every lease run out.
        if take_over > 0 and time.monotonic() >= self._next_takeover and self._ledger.is_settled:
            self._hold(self._ledger.claim(self._queue, self._consumer, take_over=take_over))
            self._next_takeover = time.monotonic() + self._takeover_s
        if self._pause_s:
            self._pause_s = 0.0
            self._log.info("Redis is back")

    def _hold(self, claims: list[Claim]) -> None:
        if self._holdings.take(claims):
            self._fetched.extend(claims)
        elif claims:
            self._ledger.hand_back(self._queue, claims)

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
    """Renews the leases of all that a broker holds; lets go of what is stuck here, or the ledger gave to another."""

    def __init__(self, broker: Carrier, let_go: LetGo) -> None:
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
                stuck = holdings.stuck()
                claims = holdings.all()
                try:
                    if stuck:
                        self._broker.ledger.hand_back(queue, stuck)
                    if not claims:
                        continue
                    for claim, why in self._broker.ledger.renew(queue, self._broker.consumer, claims):
                        has_not_started = self._broker.withdraw(claim.id) if why == "cancel" else holdings.forget(claim)
                        if not has_not_started:
                            self._let_go(claim, why)
                except LedgerUnavailableError as error:
                    self._log.warning("leases are not renewed while Redis is away", queue=queue, reason=str(error))
                except Exception:  # noqa: BLE001  # nobody starts this thread again, and without it every claim is lost
                    self._log.exception("leases could not be renewed", queue=queue)


class Promoter:
    """Moves what is due from a queue's waiting set into its stream, in a thread of its own.

    Any number of promoters may run: each promotion is one script. A promoter sleeps until the next member is
    due, or until the set has a new earliest one; a second passes at the most, should another promoter die.
    """

    def __init__(self, ledger: Ledger, queue: str) -> None:
        self._ledger = ledger
        self._queue = queue
        self._log = structlog.get_logger("oncue.promoter").bind(queue=queue)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"promoter-{queue}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop promoting; the thread ends within a second."""
        self._stopping.set()

    def _run(self) -> None:
        next_look = 0.0
        while not self._stopping.is_set():
            try:
                _, next_s = self._ledger.promote(self._queue, recover=False)
                # By a call of its own, as takeovers are.
                if time.monotonic() >= next_look and self._ledger.is_settled:
                    self._ledger.recover(self._queue)
                    next_look = time.monotonic() + min(TAKEOVER_S, self._ledger.lease_s / 2)
                if next_s is None or next_s > 0:
                    self._ledger.await_wake(self._queue, min(1.0, next_s if next_s is not None else 1.0))
            except LedgerUnavailableError:
                self._stopping.wait(0.5)
            except Exception:  # noqa: BLE001  # nobody starts this thread again, and what waits for its time would stay
                if self._stopping.is_set():
                    return  # the connection was closed under a wait, as it is at the end of every worker
                self._log.exception("what is due could not be queued")
                self._stopping.wait(0.5)
