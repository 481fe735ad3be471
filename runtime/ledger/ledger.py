"""The ledger as a worker sees it: deliveries, claims, finishes, leases. Blocking; one connection per thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import redis

from runtime.ledger.keys import GROUP, QUEUES, RELAY_GROUP, QueueKeys
from runtime.ledger.records import Claim, Verdict
from runtime.ledger.wire import Bell, Command, LedgerUnavailableError, Wire, raise_errors

#: Seconds a claim holds without renewal.
LEASE_S = 5.0
#: Seconds a failed invocation is kept.
RETENTION_S = 30 * 86400.0
#: Child deaths after which an invocation is failed, and lost workers after which it is.
MAX_DEATHS = 3
MAX_LOST = 10

#: Seconds after which a message that another carrier confirmed, and nobody has claimed, is sent again: that carrier may
#: have lost it (a purged queue, a lost disk). A copy too many is dropped at the claim.
RESEND_S = 3600.0

#: Entries kept of what was no invocation, and characters of each of their fields.
PARKED_ENTRIES = 1_000
PARKED_CHARS = 200

#: A stream entry and the invocation id it names, as delivered ("" when it names none, or when another carrier delivered).
Delivery = tuple[str, str]


class Ledger:
    """Claims and finishes invocations.

    Every method raises `LedgerUnavailableError` while Redis is away or refuses to write.
    """

    def __init__(self, url: str, *, lease_s: float = LEASE_S, retention_s: float = RETENTION_S) -> None:
        self.url = url
        self.lease_s = lease_s
        self.retention_s = retention_s
        self._local = threading.local()
        self._wires: list[Wire] = []
        # Of all threads, monotonic seconds: the last answer, since when there is none (0: there is), and `is_settled` from when on.
        self._answered_at = self._silent_since = self._settled_at = 0.0

    @property
    def is_settled(self) -> bool:
        """Tell whether a lease that has run out means that its worker is lost.

        Not for one lease after Redis was away, or stood still, for half a lease or more: every lease may have run out then, and
        who holds one gets the time to renew it and to tell its outcome.
        """
        return time.monotonic() >= self._settled_at

    @property
    def _wire(self) -> Wire:
        wire: Wire | None = getattr(self._local, "wire", None)
        if wire is None:
            wire = self._local.wire = Wire(self.url)
            self._wires.append(wire)
        return wire

    def close(self) -> None:
        """Close the connections of all threads."""
        for wire in self._wires:
            wire.close()

    def _run(self, name: str, queue: str, arguments: Sequence[Any]) -> Any:
        with self._attended():
            (reply,) = self._wire.run(name, QueueKeys(queue).base, [arguments])
        return reply

    @contextlib.contextmanager
    def _attended(self, may_block_s: float = 0.0) -> Iterator[None]:
        """Note how long Redis takes for a command, for `is_settled`."""
        began = time.monotonic()
        try:
            yield
        except LedgerUnavailableError:
            self._silent_since = self._silent_since or max(began, self._answered_at)
            raise
        now = time.monotonic()
        since = self._silent_since or max(began + may_block_s, self._answered_at)
        if now - since >= self.lease_s / 2:
            self._settled_at = now + self.lease_s
        self._answered_at, self._silent_since = now, 0.0

    def declare(self, queue: str) -> None:
        """Make the queue's stream and consumer group, unless they are there."""
        keys = QueueKeys(queue)
        announced, group = self._wire.send(("SADD", QUEUES, queue), ("XGROUP", "CREATE", keys.stream, GROUP, "0", "MKSTREAM"))
        if isinstance(group, redis.ResponseError) and "BUSYGROUP" in str(group):
            group = None
        raise_errors([announced, group])

    def deliveries(self, queue: str, consumer: str, *, count: int, block_s: float) -> list[Delivery]:
        """Wait up to `block_s` seconds for entries that no consumer has seen, and return at most `count`."""
        command = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "BLOCK", int(block_s * 1000), "STREAMS")
        return self._delivered(queue, (*command, QueueKeys(queue).stream, ">"), may_block_s=block_s)

    def _delivered(self, queue: str, command: Command, *, may_block_s: float = 0.0) -> list[Delivery]:
        with self._attended(may_block_s):
            (reply,) = self._wire.send(command)
        if isinstance(reply, redis.ResponseError) and "NOGROUP" in str(reply):
            self.declare(queue)  # the data was flushed under us
            return []
        raise_errors([reply])
        if not reply:
            return []
        return [
            (entry.decode(), fields[1].decode(errors="replace") if fields and fields[0] == b"id" else "")
            for entry, fields in reply[0][1]
        ]

    def claim(
        self, queue: str, consumer: str, deliveries: Sequence[Delivery] = (), *, read: int = 0, take_over: int = 0
    ) -> list[Claim]:
        """Claim what was delivered, up to `read` entries that wait, and up to `take_over` of lost workers."""
        arguments: list[Any] = [
            consumer,
            int(self.lease_s * 1000),
            take_over,
            MAX_LOST,
            int(self.retention_s * 1000),
            read,
        ]
        for entry, invocation_id in deliveries:
            arguments += (entry, invocation_id)
        rows = self._run("claim", queue, arguments)
        return [
            Claim(
                queue,
                entry.decode(),
                invocation_id.decode(),
                attempt,
                fence,
                lost,
                deaths,
                function.decode(),
                version.decode(),
                key.decode(),
                event,
                blob,
                trace,
                accepted_ms,
            )
            for (
                entry,
                invocation_id,
                attempt,
                fence,
                lost,
                deaths,
                function,
                version,
                key,
                event,
                blob,
                trace,
                accepted_ms,
            ) in rows
        ]

    def renew(self, queue: str, consumer: str, claims: Sequence[Claim]) -> list[tuple[Claim, str]]:
        """Renew leases; return what must be let go, and why: "stale" or "cancel"."""
        arguments: list[Any] = [consumer, int(self.lease_s * 1000)]
        for claim in claims:
            arguments += (claim.id, claim.fence, claim.entry)
        gone = self._run("renew", queue, arguments)
        return [(claims[position], why.decode()) for position, why in zip(gone[::2], gone[1::2], strict=True)]

    def finish(self, queue: str, verdicts: Sequence[Verdict]) -> list[str]:
        """Write how attempts ended, in one batch; return for each the outcome written, or "stale"."""
        arguments = [int(self.retention_s * 1000), MAX_DEATHS, *(verdict.packed() for verdict in verdicts)]
        replies = self._run("finish", queue, arguments)
        return [reply.decode() for reply in replies]

    def hand_back(self, queue: str, claims: Sequence[Claim]) -> int:
        """Put claims that have not started, or were cut short, back into the queue without burning an attempt; return how many."""
        arguments: list[Any] = []
        for claim in claims:
            arguments += (claim.id, claim.fence, claim.entry)
        count = self._run("hand_back", queue, arguments)
        return int(count)

    def append_output(self, claim: Claim, frames: Sequence[bytes], progress: bytes = b"") -> bool:
        """Keep output frames of a running attempt; False when it is no longer ours."""
        arguments = [claim.id, claim.fence, int(self.retention_s * 1000), progress, *frames]
        kept = self._run("output", claim.queue, arguments)
        return bool(kept)

    def promote(self, queue: str, *, most: int = 500, recover: bool = True) -> tuple[int, float | None]:
        """Queue what is due; return how many, and the seconds until the next one (None: none waits).

        With `recover`, queue also what has lost its worker where another carrier than Redis delivered it.
        """
        arguments = (most, most if recover else 0, MAX_LOST, int(self.retention_s * 1000))
        moved, next_ms = self._run("promote", queue, arguments)
        return moved, None if next_ms < 0 else next_ms / 1000

    def recover(self, queue: str, *, most: int = 500) -> None:
        """Queue what has lost its worker where another carrier than Redis delivered it, and nothing of what is due."""
        self._run("promote", queue, (0, most, MAX_LOST, int(self.retention_s * 1000)))

    def await_wake(self, queue: str, timeout_s: float) -> None:
        """Return when the waiting set has a new earliest member, or after `timeout_s` seconds."""
        bells: dict[str, Bell] = self._local.__dict__.setdefault("bells", {})
        if queue not in bells:
            bells[queue] = Bell(self.url, QueueKeys(queue).wake)
            self._wires.append(bells[queue])
        bells[queue].wait(max(0.0, timeout_s))

    def unsent(self, queue: str, consumer: str, *, count: int) -> list[Delivery]:
        """Take over entries that a publisher has read, and not removed within a lease."""
        arguments = (consumer, int(self.lease_s * 1000), count, MAX_LOST, int(self.retention_s * 1000))
        rows = self._run("unsent", queue, arguments)
        return [(entry.decode(), invocation_id.decode(errors="replace")) for entry, invocation_id in rows]

    def own_unsent(self, queue: str, consumer: str, *, count: int) -> list[Delivery]:
        """Return entries that this publisher itself has read, and not removed."""
        command = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", QueueKeys(queue).stream, "0")
        return self._delivered(queue, command)

    def sent(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Remove entries whose messages another carrier has confirmed."""
        arguments: list[Any] = [int(RESEND_S * 1000)]
        for entry, invocation_id in deliveries:
            arguments += (entry, invocation_id)
        self._run("sent", queue, arguments)

    def park(self, queue: str, fields: dict[str, str], reason: str) -> None:
        """Put something that another carrier brought, and that is no invocation, aside for people to look at."""
        words = [word[:PARKED_CHARS] for pair in fields.items() for word in pair]
        aside = ("entry", "", "fields", msgspec.json.encode(words), "reason", reason)
        raise_errors(self._wire.send(("XADD", QueueKeys(queue).parked, "MAXLEN", "~", PARKED_ENTRIES, "*", *aside)))

    def forget_consumer(self, queue: str, consumer: str) -> None:
        """Remove a consumer that holds nothing from the group."""
        keys = QueueKeys(queue)
        (pending,) = self._wire.send(("XPENDING", keys.stream, GROUP, "-", "+", 1, consumer))
        if pending == []:
            self._wire.send(("XGROUP", "DELCONSUMER", keys.stream, GROUP, consumer))

    def forget_dead_consumers(self, queue: str, *, idle_s: float = 3600.0) -> None:
        """Remove consumers that hold nothing and have been silent for long: processes that were killed."""
        keys = QueueKeys(queue)
        for stream, group in ((keys.stream, GROUP), (keys.outbox, RELAY_GROUP)):
            (consumers,) = self._wire.send(("XINFO", "CONSUMERS", stream, group))
            for facts in () if isinstance(consumers, redis.ResponseError) else consumers:
                fact = dict(zip(facts[::2], facts[1::2], strict=True))
                if fact[b"pending"] == 0 and fact[b"idle"] > idle_s * 1000:
                    self._wire.send(("XGROUP", "DELCONSUMER", stream, group, fact[b"name"]))
