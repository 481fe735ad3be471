"""A worker process: Dramatiq's Worker over a carrier, with the executor as every queue's one actor."""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from functools import partial
from queue import Empty, SimpleQueue

import dramatiq
import msgspec
import redis
import structlog

from infra.preparing import Preparer
from infra.settings import Settings, secret
from runtime.carriers.carrier import ACTOR, Carrier
from runtime.carriers.orders import Orders
from runtime.carriers.redis_streams import LeaseKeeper, Promoter, RedisStreamsBroker
from runtime.carriers.relay import Relay
from runtime.execution.executor import Executor
from runtime.execution.pool import ChildPool
from runtime.execution.pools import Pools
from runtime.execution.processes import adopt_orphans
from runtime.ledger.artifacts import Artifacts
from runtime.ledger.committer import Committer
from runtime.ledger.keys import EVENTS, QUEUES
from runtime.ledger.ledger import Ledger
from runtime.ledger.records import Claim, Verdict
from runtime.ledger.store import ObjectStore, ResultStore
from runtime.ledger.sweeper import Sweeper
from runtime.ledger.wire import LedgerUnavailableError, client
from runtime.versions.environments import Environments
from runtime.versions.registry import Registry
from runtime.versions.store import VersionStore
from runtime.versions.unpacked import Versions

#: Seconds between two looks for queues that a deploy has brought, when none was told of.
QUEUES_S = 1.0

#: Milliseconds a Dramatiq thread waits before it looks whether it should stop.
WORKER_TIMEOUT_MS = 500

#: GIL switch interval, seconds. A thread whose child has answered would wait Python's default of 5 ms for
#: whichever thread computes just then.
SWITCH_INTERVAL_S = 0.0005


class WorkerProcess:
    """Everything in one worker process, put together; `run` blocks until it is told to stop."""

    def __init__(self, settings: Settings, url: str, index: int) -> None:
        self._settings = settings
        self._log = structlog.get_logger("oncue.worker")
        self._stopping = threading.Event()
        #: rung when the queues are to be looked at now: a deploy may have brought one
        self._look: SimpleQueue[None] = SimpleQueue()  # an Event, which a signal handler may find locked, could deadlock
        self._url = url
        self._ledger = Ledger(url, lease_s=settings.lease_s, retention_s=settings.retention_s)
        self._registry = Registry(url)
        self._store = VersionStore(url, ObjectStore(settings.store_url))
        self._versions = Versions(settings.data, self._store)
        self._environments = Environments(settings.data)
        #: version → the interpreter of its environment
        self._pythons: dict[str, str] = {}
        self._pools = Pools(self._pool, self._forgotten)
        results = ResultStore(settings.store_url)
        self._artifacts = Artifacts(url, results)
        # A name of its own for every start: what an earlier process held is taken over, never mixed up with this.
        consumer = f"{socket.gethostname()}-{index}-{os.getpid()}-{secrets.token_hex(4)}"
        self._broker = _carrier(settings, self._ledger, consumer)
        self._committer = Committer(self._ledger, self._written)
        self._executor = Executor(
            self._ledger,
            self._committer,
            self._pools,
            results,
            self._registry.manifest,
        )
        self._leases = LeaseKeeper(self._broker, self._executor.let_go)
        self._worker = dramatiq.Worker(self._broker, worker_timeout=WORKER_TIMEOUT_MS, worker_threads=settings.threads)
        self._promoters: list[Promoter] = []
        self._relays: dict[str, Relay] = {}
        self._sweeper = Sweeper(self._ledger, results)
        self._orders = Orders(url, self._cancel)
        self._preparer = Preparer(url, self._registry, self._warm)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; then finish what runs and hand back the rest."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        adopt_orphans()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._committer.start()
        self._executor.start()
        self._leases.start()
        self._orders.start()
        self._preparer.start()
        self._sweeper.start()
        self._worker.start()
        gc.collect()
        gc.freeze()
        while not self._stopping.is_set():
            self._carry_new_queues()
            with contextlib.suppress(Empty):
                self._look.get(timeout=QUEUES_S)
        self._stop()

    def _on_signal(self, *_: object) -> None:
        self._stopping.set()
        self._look.put(None)

    def _stop(self) -> None:
        handed_back = self._broker.stop_intake()
        self._log.info("stopping: what runs may finish", handed_back=handed_back)
        self._orders.close()
        self._preparer.close()
        self._sweeper.close()
        for promoter in self._promoters:
            promoter.close()
        for relay in self._relays.values():
            relay.close()
        self._worker.stop(timeout=int(self._settings.grace_s * 1000))
        self._broker.close()
        self._executor.close()
        self._committer.close()
        self._leases.close()
        for queue in self._broker.queues:
            try:
                self._ledger.forget_consumer(queue, self._broker.consumer)
            except LedgerUnavailableError:
                break
        self._ledger.close()

    def _carry_new_queues(self) -> None:
        """Declare an actor for every queue that a deployed function names, or that still has work."""
        try:
            catalog = self._registry.catalog()
            queues = {function.manifest.options.queue for function in catalog.functions.values()}
            with client(self._url) as connection:
                queues |= {name.decode() for name in connection.smembers(QUEUES)}
        except redis.RedisError as error:
            self._log.warning("queues cannot be read until Redis is back", reason=str(error))
            return
        for outbox in sorted({*queues, EVENTS} - self._relays.keys()):
            self._relays[outbox] = Relay(self._url, outbox, self._broker.consumer, self._registry.catalog)
            self._relays[outbox].start()
        for queue in sorted(queues - self._broker.queues.keys()):
            run = partial(self._executor.run, holder=self._broker.holdings(queue))
            dramatiq.actor(actor_name=ACTOR.format(queue=queue), queue_name=queue, broker=self._broker)(run)
            promoter = Promoter(self._ledger, queue)
            promoter.start()
            self._promoters.append(promoter)

    def _pool(self, version: str) -> ChildPool:
        manifest = self._registry.manifest(version)
        place = self._versions.fetch(version, manifest.folder)
        python = self._pythons[version] = self._environments.python(place, self._store.lock(version))
        return ChildPool(
            folder=place,
            name=manifest.folder,
            python=python,
            state_dir=self._versions.state(manifest.folder),
            secret=secret,
            read=self._artifacts.read,
            idle_s=self._settings.idle_s,
        )

    def _forgotten(self, version: str) -> None:
        self._versions.let_go(version)
        python = self._pythons.pop(version)
        if python not in list(self._pythons.values()):
            self._environments.let_go(python)

    def _cancel(self, invocation_id: str) -> None:
        if not self._broker.withdraw(invocation_id):
            self._executor.cancel(invocation_id)

    def _warm(self, version: str) -> None:
        self._look.put(None)
        pool = self._pools.get(version)
        if pool.size == 0:
            pool.warm()

    def _written(self, verdicts: Sequence[Verdict], outcomes: Sequence[str]) -> None:
        self._broker.release(verdicts)
        lines = [_finished(v, outcome) for v, outcome in zip(verdicts, outcomes, strict=True) if outcome != "stale"]
        if lines:
            sys.stdout.buffer.write(b"".join(lines))
            sys.stdout.buffer.flush()


def _carrier(settings: Settings, ledger: Ledger, consumer: str) -> Carrier:
    if settings.broker is None:
        return RedisStreamsBroker(ledger, consumer, threads=settings.threads)
    # Where Redis carries, pika is not imported.
    from runtime.carriers.rabbitmq import RabbitCarrier

    return RabbitCarrier(ledger, consumer, threads=settings.threads, url=settings.broker)


_ATTEMPT = msgspec.json.Decoder(dict[str, object]).decode
_JSON = msgspec.json.Encoder().encode


def _finished(verdict: Verdict, outcome: str) -> bytes:
    """Return the line that tells of a finished attempt, one JSON object."""
    claim: Claim = verdict.claim
    attempt = _ATTEMPT(verdict.attempt)
    error = attempt.get("error")
    return (
        _JSON(
            {
                "kind": "finished",
                "id": claim.id,
                "function": claim.function,
                "status": outcome,
                "duration_ms": attempt["duration_ms"],
                "attempt": claim.attempt,
                "error": f"{error['type']}: {error['message']}" if isinstance(error, dict) else None,
            }
        )
        + b"\n"
    )


def main(settings: Settings, index: int = 0) -> None:
    """Run one worker process of this host until it is told to stop.

    Raises:
        SettingsError: no Redis is configured.
    """
    WorkerProcess(settings, settings.ledger_url, index).run()
