"""Rate limits: a bucket for each (caller, function), refilled steadily (GCRA), shared by all web processes.

A process takes a handful of tokens from the bucket in Redis at once and hands them out itself, so that nearly every
request costs no round trip; the next handful is fetched while the last is handed out, so that nobody waits for it.
Tokens are paid for when they are taken, and lapse in hand after the rate's window (a refill renews the few that are left).
So what passes in a window exceeds what the bucket gave in it by at most what the processes had at hand: one and a half
handfuls each, a handful being 5 % of the quota. What lapses is lost: up to a handful a window in each process that a caller
hardly uses.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Awaitable

from runtime.authoring.quantities import Rate
from runtime.ledger.keys import EDGE, QueueKeys
from runtime.ledger.reads import Reads
from triggers.http.answers import Header, ProblemError

#: Tokens taken at once: this share of the quota, at most so many.
CHUNK_SHARE = 0.05
MOST_IN_CHUNK = 1000

#: Buckets that a process remembers; what it forgets costs a round trip, and at most a chunk.
MOST_BUCKETS = 10_000


class _Bucket:
    __slots__ = ("lapse_at", "left", "refill", "shut_until", "tokens", "waiting")

    def __init__(self) -> None:
        #: tokens at hand, and what was left in Redis when they were taken
        self.tokens = 0
        self.left = 0
        #: when the tokens lapse, on the loop's clock
        self.lapse_at = 0.0
        self.refill: asyncio.Task[None] | None = None
        self.waiting = 0
        #: when Redis has the next token, on the loop's clock
        self.shut_until = 0.0


class Limiter:
    """The buckets of one process, for one rate; belongs to one event loop."""

    def __init__(self, reads: Reads, rate: Rate, name: str) -> None:
        self._reads = reads
        self._rate = rate
        self._name = name
        self._chunk = max(1, min(int(rate.quota * CHUNK_SHARE), MOST_IN_CHUNK))
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._policy = (b"ratelimit-policy", b'"%s";q=%d;w=%d' % (name.encode(), rate.quota, rate.window_s))

    def take(self, caller: str, function: str) -> list[Header] | Awaitable[list[Header]]:
        """Take one token, here when one is at hand; return the headers that tell what is left.

        Raises (here or from the awaitable):
            ProblemError: 429: there is none.
            LedgerUnavailableError: Redis is away.
        """
        bucket = self._buckets.get((caller, function))
        if bucket is not None and bucket.tokens:
            if asyncio.get_running_loop().time() < bucket.lapse_at:
                bucket.tokens -= 1
                if bucket.tokens < self._chunk // 2 and bucket.refill is None and bucket.left:
                    self._begin_refill(bucket, caller, function)
                return self._headers(bucket)
            bucket.tokens = 0
        return self._wait(bucket or self._open(caller, function), caller, function)

    async def _wait(self, bucket: _Bucket, caller: str, function: str) -> list[Header]:
        loop = asyncio.get_running_loop()
        while not bucket.tokens:
            retry_s = bucket.shut_until - loop.time()
            if retry_s > 0:
                raise self._refusal(retry_s)
            bucket.waiting += 1
            try:
                await asyncio.shield(bucket.refill or self._begin_refill(bucket, caller, function))
            finally:
                bucket.waiting -= 1
        bucket.tokens -= 1
        return self._headers(bucket)

    def _begin_refill(self, bucket: _Bucket, caller: str, function: str) -> asyncio.Task[None]:
        bucket.refill = asyncio.get_running_loop().create_task(self._fill(bucket, caller, function))
        bucket.refill.add_done_callback(_forget_error)
        return bucket.refill

    async def _fill(self, bucket: _Bucket, caller: str, function: str) -> None:
        digest = hashlib.sha256(f"{self._name}\0{caller}\0{function}".encode()).hexdigest()[:32]
        rate = self._rate
        interval_ms = rate.window_s * 1000 / rate.quota
        wanted = max(self._chunk, bucket.waiting)
        try:
            reply = await self._reads.run("take", QueueKeys(EDGE).base, digest, interval_ms, rate.quota, wanted)
            taken, bucket.left, retry_ms = reply
            now = asyncio.get_running_loop().time()
            bucket.tokens += taken
            if taken:
                bucket.lapse_at = now + rate.window_s
            bucket.shut_until = now + retry_ms / 1000
        finally:
            bucket.refill = None

    def _open(self, caller: str, function: str) -> _Bucket:
        if len(self._buckets) >= MOST_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        bucket = self._buckets[caller, function] = _Bucket()
        return bucket

    def _headers(self, bucket: _Bucket) -> list[Header]:
        """Tell the policy and what is left (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4)."""
        left = bucket.tokens + bucket.left
        rate = self._rate
        reset_s = -(-(rate.quota - left) * rate.window_s // rate.quota)
        return [self._policy, (b"ratelimit", b'"%s";r=%d;t=%d' % (self._name.encode(), left, max(reset_s, 0)))]

    def _refusal(self, retry_s: float) -> ProblemError:
        rate, after_s = self._rate, max(1, math.ceil(retry_s))
        return ProblemError(
            429,
            "rate-limited",
            f"more than {rate.quota:,} requests in {rate.window_s} s; try again in {after_s} s",
            headers=[
                (b"retry-after", b"%d" % after_s),
                self._policy,
                (b"ratelimit", b'"%s";r=0;t=%d' % (self._name.encode(), after_s)),
            ],
        )


def _forget_error(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waited has been told; nobody else needs to hear of it
