"""A plain, blocking way to be the edge and a worker of one ledger."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import redis

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import new_id
from runtime.ledger.ledger import Ledger
from runtime.ledger.records import Acceptance, Accepted, Claim, Invocation, ResultInfo, Verdict
from runtime.ledger.store import ResultStore

T = TypeVar("T")


def acceptance(**changes: Any) -> Acceptance:
    """An acceptance of `thumbnail` in the queue `default`."""
    queue = changes.get("queue", "default")
    return Acceptance(
        **{"id": new_id(queue), "queue": queue, "function": "thumbnail", "version": "v1", "event": b'{"data":1}', **changes}
    )


def verdict(claim: Claim, outcome: str = "succeeded", *, body: bytes = b"null", **changes: Any) -> Verdict:
    """How an attempt ended; what fails does so with a ValueError."""
    values: dict[str, Any] = {"attempt": msgspec.json.encode({"outcome": outcome, "duration_ms": 1.5})}
    if outcome == "succeeded":
        info = ResultInfo(media_type="application/json", size=len(body), sha256=hashlib.sha256(body).hexdigest())
        values |= {"result": msgspec.json.encode(info), "body": body}
    else:
        values["error"] = b'{"kind":"raised","type":"ValueError","message":"no"}'
    return Verdict(claim=claim, outcome=outcome, **{**values, **changes})  # type: ignore[arg-type]  # tests say plain words


class Book:
    """Accepts and reads as the edge does, claims and finishes as a worker does."""

    def __init__(self, url: str, results: Path, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.edge = AsyncLedger(url, ResultStore(f"file://{results}"))
        self.worker = Ledger(url, **options)
        self.redis = redis.Redis.from_url(url)

    def close(self) -> None:
        self.run(self.edge.close())
        self._runner.close()
        self.worker.close()
        self.redis.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def accept(self, *given: Acceptance, **changes: Any) -> str:
        """Accept one invocation, which must be new; return its id."""
        (answer,) = self.answers(*(given or (acceptance(**changes),)))
        assert answer.outcome == "new"
        return answer.id

    def answers(self, *acceptances: Acceptance) -> list[Accepted]:
        """Hand over acceptances at one moment; return what each caller hears."""

        async def together() -> list[Accepted]:
            return await asyncio.gather(*(self.edge.accept(each) for each in acceptances))

        return self.run(together())

    def claims(self, count: int = 1, *, consumer: str = "one", queue: str = "default") -> list[Claim]:
        """Claim up to `count` of what waits now."""
        self.worker.declare(queue)
        return self.worker.claim(queue, consumer, self.worker.deliveries(queue, consumer, count=count, block_s=0.05))

    def claim(self, **where: Any) -> Claim:
        (claim,) = self.claims(**where)
        return claim

    def finish(self, claim: Claim, outcome: str = "succeeded", **changes: Any) -> str:
        (written,) = self.worker.finish(claim.queue, [verdict(claim, outcome, **changes)])
        return written

    def take_over(self, consumer: str, *, most: int = 10, queue: str = "default") -> list[Claim]:
        return self.worker.claim(queue, consumer, take_over=most)

    def record(self, invocation_id: str) -> Invocation:
        found = self.run(self.edge.get(invocation_id))
        assert found is not None
        return found

    def page(self, **query: Any) -> tuple[list[str], str | None]:
        page = self.run(self.edge.page(**query))
        return [invocation.id for invocation in page.invocations], page.next

    def all_ids(self, **query: Any) -> list[str]:
        """Follow the cursors to the end."""
        found, cursor = self.page(**query)
        while cursor:
            more, cursor = self.page(**query, cursor=cursor)
            found += more
        return found

    def frames(self, invocation_id: str) -> list[Any]:
        entries = self.run(self.edge.output(self.record(invocation_id)))
        return [msgspec.json.decode(frame) for _, frame in entries]

    def keys(self) -> set[str]:
        return {key.decode() for key in self.redis.scan_iter("*")}

    def script_calls(self) -> int:
        stats: Any = self.redis.info("commandstats")
        return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


def ids(claims: Sequence[Claim]) -> list[str]:
    return [claim.id for claim in claims]
