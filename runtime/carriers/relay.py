"""Empties the outboxes: what left with a finish or a publication becomes invocations.

An outbox entry is removed only after everything it asks for has been accepted, each under a dedupe key that
the entry determines. So a relay may die anywhere: another one takes the entry over, and nothing is doubled.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis
import structlog

from runtime.authoring.event import Event
from runtime.ledger.events import acceptances
from runtime.ledger.keys import new_id
from runtime.ledger.outbox import Entry, Outbox
from runtime.ledger.records import Acceptance
from runtime.ledger.wire import LedgerUnavailableError
from runtime.versions.catalog import Catalog
from runtime.versions.subscriptions import occurrence

#: Entries read at once, and seconds a read waits for one.
BATCH = 100
WAIT_S = 1.0

#: Seconds after which an entry that another relay has read, and not removed, is taken over; and between two looks for one.
TAKE_OVER_S = 5.0
LOOK_S = 1.0

_JSON = msgspec.json.Encoder().encode

Fields = dict[str, bytes]


class UndeliverableError(Exception):
    """An outbox entry that can never be delivered; the message says why."""


class Relay:
    """Serves the outbox of one queue (or of the events), on a thread of its own."""

    def __init__(self, url: str, queue: str, consumer: str, catalog: Callable[[], Catalog]) -> None:
        """`catalog()` reads what is deployed now; it may raise what redis-py does."""
        self._outbox = Outbox(url, queue, consumer)
        self._queue = queue
        self._read_catalog = catalog
        #: what was deployed when the batch was read: whoever finished may be the first to know of a deploy
        self._catalog = Catalog()
        self._log = structlog.get_logger("oncue.relay").bind(outbox=queue)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"relay-{queue}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop; the thread ends within a second or two."""
        self._stopping.set()

    def _run(self) -> None:
        next_look = 0.0
        # Read, and not delivered yet: after an outage it goes on with these, and does not wait for the takeover.
        waiting: deque[Entry] = deque()
        may_have_unread = False
        while not self._stopping.is_set():
            try:
                if not waiting and may_have_unread:
                    waiting += self._outbox.own(count=BATCH)
                    may_have_unread = bool(waiting)
                if not waiting and time.monotonic() >= next_look:
                    waiting += self._outbox.take_over(idle_s=TAKE_OVER_S, count=BATCH)
                    next_look = time.monotonic() + LOOK_S
                if not waiting:
                    waiting += self._outbox.read(count=BATCH, wait_s=WAIT_S)
                if waiting:
                    self._catalog = self._read_catalog()
                while waiting:
                    self._deliver(*waiting[0])
                    waiting.popleft()
            except (LedgerUnavailableError, redis.ConnectionError, redis.TimeoutError):
                may_have_unread = True  # the reply of a read may be what was lost
                self._stopping.wait(0.5)
            except Exception:  # noqa: BLE001  # an entry must not be lost because of a defect: takeover tries again
                self._log.exception("an outbox entry could not be delivered")
                if waiting:
                    waiting.popleft()
                self._stopping.wait(0.5)

    def _deliver(self, entry: str, fields: Fields) -> None:
        try:
            self._send(entry, fields)
        except (UndeliverableError, LookupError, TypeError, ValueError) as error:  # what is no follow-up of ours
            reason = str(error) if isinstance(error, UndeliverableError) else f"no follow-up: {type(error).__name__}: {error}"
            self._log.error("an outbox entry was parked", entry=entry, reason=reason)
            self._outbox.park(entry, fields, reason)
        else:
            self._outbox.remove([entry])

    def _send(self, entry: str, fields: Fields) -> None:
        if "event" in fields:
            key = fields["event"].decode()
            self._outbox.accept(acceptances(key, self._outbox.event(key)))
        elif "follow_up" in fields:
            self._follow_up(entry, fields["parent"].decode(), msgspec.json.decode(fields["follow_up"]))
        else:
            raise UndeliverableError("neither an event nor a follow-up")

    def _follow_up(self, entry: str, parent: str, follow_up: dict[str, Any]) -> None:
        source = f"/v1/invocations/{parent}"
        if follow_up["kind"] == "emit":
            event = Event(entry, source, follow_up["type"], datetime.now(UTC), follow_up["data"])
            self._outbox.publish([occurrence(self._catalog, event)])
            return
        function = self._catalog.functions.get(follow_up["function"])
        if function is None:
            raise UndeliverableError(f"{parent} invoked {follow_up['function']!r}, which is not deployed")
        data = follow_up["data"]
        if follow_up["kind"] == "then":
            data = {**data, "invocation": parent}
        event = Event(entry, source, follow_up.get("type", "oncue.invoke"), datetime.now(UTC), data)
        more = {"parent": parent}
        if then := follow_up.get("then"):
            more["then"] = msgspec.json.encode({"kind": "then", **then}).decode()
        queue = function.manifest.options.queue
        self._outbox.accept(
            [
                Acceptance(
                    id=new_id(queue),
                    queue=queue,
                    function=function.name,
                    version=function.version_for(entry),
                    event=_JSON(event.document()),
                    dedupe=hashlib.sha256(f"follow-up\0{self._queue}\0{entry}".encode()).hexdigest(),
                    delay_s=follow_up.get("delay_s", 0.0),
                    more=more,
                )
            ]
        )
