"""`GET /metrics`: what this process has served, and where the ledger stands, as Prometheus text.

oncue_http_request_seconds{method="POST",route="/v1/functions/{name}",status="202"}   until the answer begins
oncue_accepts_total{function="thumbnail",outcome="new"}                              of this process
oncue_attempts_total{function="thumbnail",outcome="succeeded"}                       of all workers, from the ledger
oncue_queue_entries{queue="default",state="queued"}                                  from the ledger
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.routing import Route

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import QueueKeys
from triggers.http.answers import Answer

#: Upper bounds of the histogram, seconds.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class _Latencies:
    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0


class Metrics:
    """The numbers of one process; belongs to one event loop."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._latencies: dict[tuple[str, str, int], _Latencies] = {}

    def routes(self) -> list[Route]:
        """Return its route."""
        return [Route("/metrics", self.page, methods=["GET"])]

    def observe(self, method: str, route: str, status: int, latency_s: float) -> None:
        """Count an answer. `route` has few values: a pattern, never a path."""
        key = (method, route, status)
        latencies = self._latencies.get(key)
        if latencies is None:
            latencies = self._latencies[key] = _Latencies()
        latencies.counts[bisect_left(BOUNDS_S, latency_s)] += 1
        latencies.total_s += latency_s

    async def page(self, request: Request) -> Answer:
        """Answer all numbers."""
        families = [self._requests(), self._accepts(), await self._attempts(), await self._queues()]
        registry = CollectorRegistry()
        registry.register(_Families(families))
        return Answer(200, generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4.encode())

    def _requests(self) -> Metric:
        family = HistogramMetricFamily(
            "oncue_http_request_seconds",
            "Seconds from a request to the beginning of its answer",
            labels=["method", "route", "status"],
        )
        for (method, route, status), latencies in self._latencies.items():
            count, buckets = 0, []
            for bound, own in zip((*map(str, BOUNDS_S), "+Inf"), latencies.counts, strict=True):
                count += own
                buckets.append((bound, count))
            family.add_metric([method, route, str(status)], buckets, latencies.total_s)
        return family

    def _accepts(self) -> Metric:
        family = CounterMetricFamily(
            "oncue_accepts", "Invocations this process was asked for, by what became of it", labels=["function", "outcome"]
        )
        for (function, outcome), count in self._ledger.accepts.items():
            family.add_metric([function, outcome], count)
        return family

    async def _attempts(self) -> Metric:
        family = CounterMetricFamily("oncue_attempts", "Attempts that have ended, by how", labels=["function", "outcome"])
        for function, outcomes in (await self._ledger.counts()).items():
            for outcome, count in outcomes.items():
                family.add_metric([function, outcome], count)
        return family

    async def _queues(self) -> Metric:
        family = GaugeMetricFamily(
            "oncue_queue_entries",
            "What a queue holds: queued or running, waiting for its time, dead letters, callbacks to make",
            labels=["queue", "state"],
        )
        for queue in await self._ledger.queues():
            keys = QueueKeys(queue)
            held = {
                "queued": self._ledger.reads.do("XLEN", keys.stream),
                "waiting": self._ledger.reads.do("ZCARD", keys.due),
                "dead": self._ledger.reads.do("ZCARD", keys.dead),
                "callbacks": self._ledger.reads.do("ZCARD", keys.callbacks),
            }
            for state, count in held.items():
                family.add_metric([queue, state], await count)
        return family


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families
