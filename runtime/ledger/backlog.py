"""What is not over yet, read by looking at every record of it: for what is rare, like collecting versions. Blocking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from runtime.ledger.events import Owed
from runtime.ledger.keys import EVENTS, QUEUES, QueueKeys
from runtime.ledger.records import FINAL
from runtime.ledger.scripts import script
from runtime.ledger.wire import client

#: Records read in one write.
_PAGE = 500

_OWED = msgspec.json.Decoder(list[Owed])


class Found(NamedTuple):
    """An invocation that is open, or a dead letter."""

    queue: str
    id: str
    #: "dead" for a dead letter, else the record's status
    status: str
    function: str
    version: str


class Waiting(NamedTuple):
    """What an invocation that waits was accepted with."""

    queue: str
    id: str
    function: str
    version: str
    event: bytes
    has_blob: bool


class Backlog:
    """Reads open invocations and dead letters of all queues; safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._redis = client(url)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def open_work(self, *, thorough: bool = True) -> Iterator[Found]:
        """Yield everything that is open and every dead letter, some of it twice.

        What moves from one place to another while it is looked for is met in one of them: the places are looked at
        in the order in which invocations move, and those that they come back to a second time. `thorough`: the index
        is looked through, too, for what another carrier holds.
        """
        for queue in self._queues():
            keys = QueueKeys(queue)
            if thorough:
                yield from self._open(queue, self._set(keys.index()))
            for _ in range(2):
                for ids in (self._set(keys.due), self._stream(keys.stream), self._set(keys.leases)):
                    yield from self._open(queue, ids)
            for found in self._found(queue, self._set(keys.dead)):
                yield found._replace(status="dead")
        yield from self._owed()

    def waiting(self, functions: Iterable[str]) -> Iterator[Waiting]:
        """Yield what is queued, retrying or scheduled of these functions."""
        wanted = frozenset(functions)
        for queue in self._queues():
            keys = QueueKeys(queue)
            seen: set[str] = set()
            for ids in (self._set(keys.due), self._stream(keys.stream), self._set(keys.leases), self._set(keys.index())):
                for found in self._open(queue, ids):
                    if found.function in wanted and found.id not in seen and found.status != "running":
                        seen.add(found.id)
                        yield self._waiting(found)

    def adopt(self, version: str, waiting: Iterable[Waiting]) -> int:
        """Have what waits run on another version; return how many do. What has begun meanwhile stays as it is."""
        by_queue: dict[str, list[str]] = {}
        for each in waiting:
            by_queue.setdefault(each.queue, []).extend((each.id, each.version))
        moved = 0
        for queue, pairs in by_queue.items():
            for start in range(0, len(pairs), 2 * _PAGE):
                arguments = (version, *pairs[start : start + 2 * _PAGE])
                moved += int(self._redis.eval(script("adopt").source, 1, QueueKeys(queue).base, *arguments))  # type: ignore[arg-type]  # redis-py types replies for both clients
        return moved

    def outcomes(self, versions: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return how many attempts of each version ended how: {"5c1…": {"succeeded": 12, "failed": 1}}."""
        counts: dict[str, dict[str, int]] = {version: {} for version in versions}
        for queue in self._queues():
            kept: Any = self._redis.hgetall(QueueKeys(queue).versions)
            for name, count in kept.items():
                version, _, outcome = name.decode().partition(" ")
                if version in counts:
                    counts[version][outcome] = counts[version].get(outcome, 0) + int(count)
        return counts

    def forget_outcomes(self, versions: Sequence[str]) -> None:
        """Forget what is counted of versions."""
        fields = [f"{v} {outcome}" for v in versions for outcome in ("succeeded", "retrying", "failed", "cancelled")]
        for queue in self._queues() if fields else ():
            self._redis.hdel(QueueKeys(queue).versions, *fields)

    def _queues(self) -> list[str]:
        names: Any = self._redis.smembers(QUEUES)
        return sorted(name.decode() for name in names)

    def _set(self, key: str) -> Iterator[str]:
        for member, _ in self._redis.zscan_iter(key, count=_PAGE):
            yield member.decode()

    def _stream(self, key: str) -> Iterator[str]:
        last = "-"
        while True:
            entries: Any = self._redis.xrange(key, last, "+", _PAGE)
            for _, fields in entries:
                if b"id" in fields:
                    yield fields[b"id"].decode(errors="replace")
            if len(entries) < _PAGE:
                return
            last = f"({entries[-1][0].decode()}"

    def _open(self, queue: str, ids: Iterable[str]) -> Iterator[Found]:
        return (found for found in self._found(queue, ids) if found.status not in FINAL)

    def _found(self, queue: str, ids: Iterable[str]) -> Iterator[Found]:
        keys, page = QueueKeys(queue), list[str]()
        for id in chain(ids, ("",)):
            if id:
                page.append(id)
            if page and (len(page) == _PAGE or not id):
                with self._redis.pipeline(transaction=False) as pipeline:
                    for each in page:
                        pipeline.hmget(keys.record(each), "status", "function", "version")
                    for each, values in zip(page, pipeline.execute(), strict=True):
                        if all(values):
                            yield Found(queue, each, *(value.decode() for value in values))
                page = []

    def _waiting(self, found: Found) -> Waiting:
        key = QueueKeys(found.queue).record(found.id)
        event: Any = self._redis.hget(key, "event")
        return Waiting(
            found.queue, found.id, found.function, found.version, event or b"{}", bool(self._redis.hexists(key, "blob"))
        )

    def _owed(self) -> Iterator[Found]:
        """Yield what is owed for events whose invocations are still to be made."""
        keys, last = QueueKeys(EVENTS), "-"
        while True:
            entries: Any = self._redis.xrange(keys.outbox, last, "+", _PAGE)
            for _, fields in entries:
                owed: Any = self._redis.hget(keys.event(fields[b"event"].decode()), "owed") if b"event" in fields else None
                for each in _OWED.decode(owed) if owed else ():
                    yield Found(each.queue, "", "queued", each.function, each.version)
            if len(entries) < _PAGE:
                return
            last = f"({entries[-1][0].decode()}"
