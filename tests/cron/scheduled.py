"""What the tests of schedules share: deploying functions with schedules, looking at them, and what became of the slots."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import redis

from runtime.authoring.manifest import FunctionManifest, Manifest
from runtime.authoring.options import FunctionOptions
from runtime.authoring.triggers import CronTrigger
from runtime.ledger.keys import DEPLOYED, QueueKeys
from runtime.ledger.ledger import Ledger
from runtime.ledger.reads import Reads
from runtime.ledger.records import Claim, Verdict
from runtime.ledger.schedules import ScheduleLedger, State
from runtime.versions.catalog import Candidate, Catalog, Deployed
from runtime.versions.registry import Registry
from triggers.cron.looking import look
from triggers.cron.schedule import Schedule, declared
from triggers.cron.schedules import Schedules

T = TypeVar("T")


class Cron:
    """A ledger with schedules."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self.ledger = Ledger(url)
        self._registry = Registry(url)
        self._versions = 0

    def close(self) -> None:
        self.redis.close()
        self.ledger.close()
        self._registry.close()

    def deploy(
        self, folder: str = "tests", queue: str = "default", percent: int = 0, **triggers: CronTrigger | None
    ) -> dict[str, Schedule]:
        """Deploy one function per name; return the schedules of all that is deployed, by function.

        `percent`: the share of a candidate, "<folder>-candidate", with the same functions.
        """
        self._versions += 1
        functions = tuple(
            FunctionManifest(
                name=name,
                file="__init__.py",
                line=1,
                options=FunctionOptions(queue=queue),
                triggers=(trigger,) if trigger else (),
                input_schema={},
            )
            for name, trigger in triggers.items()
        )
        manifest = Manifest(folder=folder, python="3.11", functions=functions)
        candidate = Candidate(f"{folder}-candidate", manifest, percent) if percent else None
        self._registry.switch(Deployed(folder, f"{folder}-{self._versions}", manifest, 0, candidate=candidate))
        return {schedule.function.name: schedule for schedule in declared(self.catalog()).values()}

    def drop(self, folder: str = "tests") -> None:
        self._registry.drop(folder)

    def catalog(self) -> Catalog:
        return self._registry.catalog()

    def look(self, schedule: Schedule, known_mark_ms: int | None = None) -> State | None:
        """Look once, as a scheduler does."""
        return self._run(lambda reads: look(ScheduleLedger(reads), schedule, known_mark_ms=known_mark_ms))

    def decide(self, schedule: Schedule, **slots: Any) -> State:
        """Decide slots that a scheduler has computed: `ScheduleLedger.decide` tells the arguments."""
        return self._run(lambda reads: ScheduleLedger(reads).decide(schedule.queue, schedule.id, schedule.policy, **slots))

    def ask(self, what: Callable[[Schedules], Awaitable[T]]) -> T:
        """Ask the API: `cron.ask(lambda schedules: schedules.list())`."""
        return self._run(lambda reads: what(Schedules(reads, self.catalog)))

    def away_for(self, schedule: Schedule, seconds: float) -> None:
        """Make it as if no scheduler had looked for so long: the mark is set back. No slot comes in the next moments."""
        self.await_quiet()
        key = f"oncue:{{{schedule.queue}}}:cron:{schedule.id}"
        self.redis.hset(key, "mark", self.now_ms() - int(seconds * 1000))

    def await_quiet(self) -> None:
        """Return in the first half of a second, so that the next slot, which is at a full one, is not about to come."""
        while self.now_ms() % 1000 > 500:
            time.sleep(0.01)

    def followers(self) -> int:
        """How many schedulers follow the catalog."""
        ((_, count),) = self.redis.pubsub_numsub(DEPLOYED)
        return int(count)

    def now_ms(self) -> int:
        seconds, microseconds = self.redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def fired(self, queue: str = "default") -> list[dict[str, Any]]:
        """The events of all invocations that were accepted, in order of acceptance."""
        keys = QueueKeys(queue)
        ids = self.redis.zrange(keys.index(), 0, -1)
        records = [self.redis.hgetall(keys.record(each)) for each in ids]
        return [{**json.loads(record["event"]), "record": record} for record in records]

    def slots_fired(self, schedule: Schedule) -> list[int]:
        """The slots of a schedule that were accepted, in order of time, with repetitions if there were any."""
        kept = self.redis.lrange(f"oncue:{{{schedule.queue}}}:cron:{schedule.id}:fires", 0, -1)
        return sorted(int(entry.split()[0]) for entry in kept)

    def misses(self, schedule: Schedule) -> list[tuple[int, str]]:
        """The slots listed as missed, with the reason, in order of time."""
        kept = self.redis.lrange(f"oncue:{{{schedule.queue}}}:cron:{schedule.id}:missed", 0, -1)
        return sorted((int(slot), reason) for slot, reason in map(str.split, kept))

    def claim(self, queue: str = "default") -> Claim:
        """Claim the invocation that waits in the queue."""
        self.ledger.declare(queue)
        (claim,) = self.ledger.claim(queue, "tests", read=1)
        return claim

    def finish(self, claim: Claim) -> None:
        verdict = Verdict(claim=claim, outcome="succeeded", attempt=b'{"outcome":"succeeded","duration_ms":1}', result=b"{}")
        assert self.ledger.finish(claim.queue, [verdict]) == ["succeeded"]

    def _run(self, work: Callable[[Reads], Awaitable[T]]) -> T:
        async def main() -> T:
            reads = Reads(self.url)
            try:
                return await work(reads)
            finally:
                await reads.close()

        return asyncio.run(main())
