"""What the tests of queue sources share: deploying functions with sources, and looking at what became of messages."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from infra.embedded import EmbeddedServer
from runtime.authoring.manifest import FunctionManifest, Manifest
from runtime.authoring.options import FunctionOptions
from runtime.authoring.triggers import EventTrigger, QueueTrigger
from runtime.ledger.keys import QueueKeys
from runtime.ledger.ledger import Ledger
from runtime.ledger.records import Verdict
from runtime.versions.catalog import Candidate, Catalog, Deployed
from runtime.versions.registry import Registry
from tests.forked import Forked
from tests.queues import process

ROOT = Path(__file__).parents[2]


class Queues:
    """A ledger, functions with queue sources deployed to it, and triggers processes that listen."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self.ledger = Ledger(url)
        self.processes: list[Forked] = []
        #: ONCUE_CONNECTION_<NAME>
        self.connections: dict[str, str] = {}
        self._registry = Registry(url)
        self._versions = 0

    def close(self) -> None:
        for listener in self.processes:
            listener.kill()
            listener.wait()
        self.redis.close()
        self.ledger.close()
        self._registry.close()

    def deploy(
        self,
        folder: str = "tests",
        queue: str = "default",
        blob: str | None = None,
        percent: int = 0,
        **triggers: QueueTrigger | EventTrigger,
    ) -> str:
        """Deploy one function per name; return the version. `percent`: the share of a candidate, "<folder>-candidate"."""
        self._versions += 1
        functions = tuple(
            FunctionManifest(
                name=name,
                file="__init__.py",
                line=1,
                options=FunctionOptions(queue=queue),
                triggers=(trigger,),
                input_schema={},
                blob_parameter=blob,
            )
            for name, trigger in triggers.items()
        )
        version = f"{folder}-{self._versions}"
        manifest = Manifest(folder=folder, python="3.11", functions=functions)
        candidate = Candidate(f"{folder}-candidate", manifest, percent) if percent else None
        self._registry.switch(Deployed(folder, version, manifest, 0, candidate=candidate))
        return version

    def catalog(self) -> Catalog:
        return self._registry.catalog()

    def drop(self, folder: str = "tests") -> None:
        self._registry.drop(folder)

    def listen(self, **options: float) -> Forked:
        """Start a triggers process; options as in `process.main`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
        environment |= {f"ONCUE_CONNECTION_{name}": address for name, address in self.connections.items()}
        self.processes.append(Forked(process.main, self.url, environment=environment, log=self.log, **options))
        return self.processes[-1]

    @property
    def log(self) -> Path:
        return self.folder / "triggers.log"

    def stop(self, listener: Forked, within_s: float = 20) -> int:
        listener.terminate()
        return listener.wait(within_s)

    def statuses(self) -> list[dict[str, Any]]:
        """What every process tells of its sources."""
        return [json.loads(document) for document in self.redis.hvals("oncue:sources")]

    def states(self) -> list[str]:
        return sorted(status["state"] for status in self.statuses())

    def is_running(self) -> bool:
        """Whether the one source of the one process is listened to."""
        return self.states() == ["running"]

    def count(self, what: str) -> int:
        """How many messages became that, in all processes."""
        return sum(status["counts"].get(what, 0) for status in self.statuses())

    def depth(self, queue: str = "default") -> int:
        """How many invocations wait or run: here, or in the hands of RabbitMQ when that carries the queue."""
        keys = QueueKeys(queue)
        return int(self.redis.xlen(keys.stream)) + int(self.redis.zcard(keys.leases))

    def accepted(self, queue: str = "default") -> int:
        return int(self.redis.zcard(QueueKeys(queue).index()))

    def records(self, queue: str = "default") -> list[dict[str, Any]]:
        """All records, in order of acceptance, each with its event."""
        keys = QueueKeys(queue)
        asked = self.redis.pipeline(transaction=False)
        for each in self.redis.zrange(keys.index(), 0, -1):
            asked.hgetall(keys.record(each))
        found = asked.execute()
        return [{**record, "event": json.loads(record["event"])} for record in found]

    def events(self, queue: str = "default") -> list[dict[str, Any]]:
        return [record["event"] for record in self.records(queue)]

    def numbers(self, queue: str = "default") -> Counter[int]:
        """How often each number n of messages {"n": n} was accepted, in batches or alone."""
        found: Counter[int] = Counter()
        for event in self.events(queue):
            messages = event["data"].get("messages", [event]) if isinstance(event["data"], dict) else []
            found.update(int(message["data"]["n"]) for message in messages)
        return found

    def work(self, most: int = 1, queue: str = "default", delivered: Sequence[str] = ()) -> int:
        """Run up to `most` invocations to their end, as a worker does, or those `delivered`; return how many there were."""
        self.ledger.declare(queue)
        deliveries = [("", each) for each in delivered]
        claims = self.ledger.claim(queue, "tests", deliveries, read=0 if deliveries else most)
        verdicts = [
            Verdict(claim=claim, outcome="succeeded", attempt=b'{"outcome":"succeeded","duration_ms":1}', result=b"{}")
            for claim in claims
        ]
        if verdicts:
            self.ledger.finish(queue, verdicts)
        return len(claims)


class OwnLedger(Queues):
    """The same over a Valkey of the test's own, which may be killed."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        super().__init__(server.url, folder)
        self._server = server

    def kill_ledger(self) -> None:
        assert self._server.process is not None
        self._server.process.kill()
        self._server.process.wait()

    def restart_ledger(self, eventually: Callable[..., object]) -> None:
        """Kill it, wait until a listener has noticed, and start it again."""
        self.kill_ledger()
        eventually(lambda: "messages wait until the ledger takes them" in self.log.read_text(), within_s=10)
        self._server.start()
