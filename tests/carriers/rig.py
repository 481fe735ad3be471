"""A worker process's parts, put together in this process: carrier, Dramatiq's Worker, executor and real children."""

from __future__ import annotations

import json
import textwrap
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dramatiq

from runtime.authoring.inspection import inspect
from runtime.authoring.manifest import Manifest
from runtime.carriers.carrier import ACTOR, Carrier
from runtime.carriers.rabbitmq import RabbitCarrier
from runtime.carriers.redis_streams import LeaseKeeper, Promoter, RedisStreamsBroker
from runtime.execution.executor import Executor
from runtime.execution.pool import ChildPool
from runtime.execution.pools import Pools
from runtime.ledger.committer import Committer
from runtime.ledger.ledger import Ledger
from runtime.ledger.records import Verdict
from runtime.ledger.store import ResultStore
from runtime.versions.catalog import Deployed
from runtime.versions.deployer import Versions
from runtime.versions.pack import pack
from runtime.versions.registry import Registry
from tests.ledger.book import Book, acceptance

#: An inspection takes a process; the version names the content, so each content is inspected once.
_MANIFESTS: dict[str, Manifest] = {}

PREAMBLE = "import os, time\nfrom pathlib import Path\nfrom runtime import *\n"


class Deployment:
    """A folder of handlers, deployed; and a book to accept into and read from."""

    def __init__(self, url: str, tmp_path: Path, code: str, *, lease_s: float = 5.0) -> None:
        self.url, self.place, self.lease_s = url, tmp_path, lease_s
        self.book = Book(url, tmp_path / "results", lease_s=lease_s)
        self.registry = Registry(url)
        self.versions = Versions(tmp_path / "data")
        folder = tmp_path / "functions" / "sample"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(PREAMBLE + textwrap.dedent(code))
        packed = pack(folder)
        self.version = packed.version
        place = self.versions.store(packed)
        if packed.version not in _MANIFESTS:
            found = inspect(place, name="sample")
            assert isinstance(found, Manifest), found
            _MANIFESTS[packed.version] = found
        self.registry.switch(Deployed("sample", packed.version, _MANIFESTS[packed.version], 0))

    def accept(self, function: str, data: Any = None, *, count: int = 1, **more: Any) -> list[str]:
        document = {"id": "1", "source": "/test", "type": "oncue.invoke", "time": "2026-01-01T00:00:00+00:00", "data": data}
        wanted = [
            acceptance(function=function, version=self.version, event=json.dumps(document).encode(), **more)
            for _ in range(count)
        ]
        return [answer.id for answer in self.book.answers(*wanted)]

    def statuses(self, invocations: Sequence[str]) -> list[str]:
        return [self.book.record(each).status for each in invocations]

    def all_are(self, status: str, invocations: Sequence[str]) -> bool:
        return set(self.statuses(invocations)) == {status}

    def result(self, invocation_id: str) -> Any:
        body = self.book.run(self.book.edge.result(self.book.record(invocation_id)))
        return None if body is None else json.loads(body)

    def close(self) -> None:
        self.book.close()
        self.registry.close()


class Rig:
    """One worker over a deployment."""

    def __init__(
        self,
        deployment: Deployment,
        *,
        consumer: str = "rig",
        threads: int = 4,
        queues: Sequence[str] = ("default",),
        amqp: str | None = None,
    ) -> None:
        self.ledger = Ledger(deployment.url, lease_s=deployment.lease_s)
        self.broker: Carrier
        if amqp is None:
            self.broker = RedisStreamsBroker(self.ledger, consumer, threads=threads)
        else:
            self.broker = RabbitCarrier(self.ledger, consumer, threads=threads, url=amqp)
        self.told: list[tuple[Verdict, str]] = []
        self.committer = Committer(self.ledger, self._written)
        registry, versions = deployment.registry, deployment.versions

        def pool(version: str) -> ChildPool:
            name = registry.manifest(version).folder
            return ChildPool(folder=versions.path(version), name=name, state_dir=versions.state(name), secret=lambda _: None)

        self.pools = Pools(pool)
        store = ResultStore(f"file://{deployment.place / 'results'}")
        self.executor = Executor(self.ledger, self.committer, self.pools, store, registry.manifest)
        self.leases = LeaseKeeper(self.broker, self.executor.let_go)
        self.worker = dramatiq.Worker(self.broker, worker_timeout=100, worker_threads=threads)
        self.promoters: list[Promoter] = []
        self._is_stopped = False
        self.committer.start()
        self.executor.start()
        self.leases.start()
        self.worker.start()
        for queue in queues:
            self.carry(queue)

    def carry(self, queue: str) -> None:
        """Carry a queue from now on, as a worker does for one that a deploy has brought."""
        run = partial(self.executor.run, holder=self.broker.holdings(queue))
        dramatiq.actor(actor_name=ACTOR.format(queue=queue), queue_name=queue, broker=self.broker)(run)
        self.promoters.append(Promoter(self.ledger, queue))
        self.promoters[-1].start()

    def held(self) -> int:
        return sum(len(holdings.all()) for holdings in self.broker.queues.values())

    def stop(self) -> int:
        """Stop as a worker does; return how many claims went back at once."""
        if self._is_stopped:
            return 0
        self._is_stopped = True
        handed_back = self.broker.stop_intake()
        for promoter in self.promoters:
            promoter.close()
        self.worker.stop()
        self.broker.close()
        self.committer.close()
        self.leases.close()
        self.executor.close()
        self.ledger.close()  # wakes the promoters
        for promoter in self.promoters:
            promoter._thread.join(5)
        return handed_back

    def threads(self) -> list[threading.Thread]:
        return [self.committer._thread, self.leases._thread, self.executor._housekeeper, *(p._thread for p in self.promoters)]

    def _written(self, verdicts: Sequence[Verdict], outcomes: Sequence[str]) -> None:
        self.broker.release(verdicts)
        self.told += zip(verdicts, outcomes, strict=True)
