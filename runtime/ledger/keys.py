"""The names of all keys in Redis, and of invocation ids. The scripts build theirs in scripts/prelude.lua.

oncue:{media}                the base of one queue; its hash tag keeps the queue's keys in one cluster slot
oncue:{media}:stream         stream   entries {id} of what is queued or running; group "workers"
oncue:{media}:inv:<id>       hash     the record (records.py tells its fields)
oncue:{media}:res:<id>       string   the result's bytes, with a TTL
oncue:{media}:out:<id>       stream   entries {frame}: log lines and progress, capped
oncue:{media}:key:<digest>   string   "<id> <fingerprint>" behind an idempotency key, with a TTL
oncue:{media}:cache:<digest> string   id of the run that answers for equal arguments, with a TTL
oncue:{media}:due            zset     id by due ms: what waits for its time (delays and retries)
oncue:{media}:wake           list     at most one element: the waiting set has a new earliest member
oncue:{media}:index[:<fn>]   zset     id by accepted ms, of the queue and of one function; capped
oncue:{media}:dead           zset     id by failed ms
oncue:{media}:outbox         stream   entries {parent, follow_up} or {event}: what is still to be invoked; group "relay"
oncue:{events}:event:<key>   hash     an event by name: type, document, blob, owed, answers, published_ms
oncue:{events}:index         zset     event key by published ms; capped
oncue:{media}:leases         zset     id by ms: the lease of what another carrier delivered; what it has yet to deliver
oncue:{media}:parked         stream   entries {entry, fields, reason}: what was no invocation; capped
oncue:{media}:stats          hash     "<function> <outcome>" -> count
oncue:{media}:salt           string   what the ids of schedules' invocations are mixed with (schedules.py)
oncue:{media}:news           channel  ids of watched invocations that changed
oncue:{media}:orders         channel  ids of running invocations to cancel
oncue:sources                hash     how queue sources are doing (triggers/queues/status.py)
oncue:queues                 set      names of the queues that were ever used
oncue:swept                  string   a worker has tidied up within the hour (sweeper.py)
oncue:{media}:callbacks      zset     id by due ms: whose end is still to be told to a callback URL
oncue:{edge}:rate:<digest>   string   when a caller's bucket of requests is full again (take.lua)
oncue:{edge}:audit           stream   entries {entry}: lines of who asked for what, and how it ended; capped
oncue:keys                   hash     API keys by id; oncue:keys:changed is their channel
oncue:{media}:versions       hash     "<version> <outcome>" -> count
oncue:folders, oncue:version:<digest>, oncue:archive:<digest>, oncue:lock:<digest>, oncue:versions:<folder>,
oncue:history:<folder>, oncue:synced:<digest>, oncue:warmed:<digest>, oncue:deployed, oncue:announced
                             what is deployed (runtime/versions/registry.py)
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

#: The set of queue names in use; readers of all queues start here.
QUEUES = "oncue:queues"

#: Set while no worker needs to tidy up.
SWEPT = "oncue:swept"

#: Folders by name -> what is deployed of them; a version's manifest; the channel that tells of changes.
FOLDERS = "oncue:folders"
DEPLOYED = "oncue:deployed"

#: Tells workers of a version that is about to be served.
ANNOUNCED = "oncue:announced"

#: The consumer group of every queue's stream, and of every outbox.
GROUP = "workers"
RELAY_GROUP = "relay"

#: Where events by name are kept: beside the queues, under a hash tag of their own.
EVENTS = "events"

#: Where the HTTP edge keeps what it counts and notes, likewise.
EDGE = "edge"

#: API keys by id, and the channel that tells of changes.
API_KEYS = "oncue:keys"
API_KEYS_CHANGED = "oncue:keys:changed"

#: Published on a queue's news channel, in place of an id, when an end is to be told to a callback URL.
CALLBACKS = "callbacks"

#: Matches the news channels of all queues.
NEWS_PATTERN = "oncue:{*}:news"

#: Matches the channels on which workers are told what to cancel.
ORDERS_PATTERN = "oncue:{*}:orders"

_ID = re.compile(r"([a-z][a-z0-9_]{0,31})-([0-9a-z]{26})")
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def version_key(version: str) -> str:
    """Return the key that holds a version's manifest."""
    return f"oncue:version:{version}"


def archive_key(version: str) -> str:
    """Return the key that holds a version's files as an archive, when they are small enough for Redis."""
    return f"oncue:archive:{version}"


def lock_key(version: str) -> str:
    """Return the key that holds the pinned requirements of a version, when it has any of its own."""
    return f"oncue:lock:{version}"


def versions_key(folder: str) -> str:
    """Return the key of a folder's versions by the time each was last live, ms."""
    return f"oncue:versions:{folder}"


def warmed_key(version: str) -> str:
    """Return the key of a list with one element for each worker that has a warm child of a version."""
    return f"oncue:warmed:{version}"


def history_key(folder: str) -> str:
    """Return the key of the list of what was done to a folder, newest first."""
    return f"oncue:history:{folder}"


def new_id(queue: str) -> str:
    """Return a fresh invocation id, "<queue>-<ULID>": sortable by time, and it tells its queue."""
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    return f"{queue}-{''.join([_CROCKFORD[(number >> shift) & 31] for shift in range(125, -5, -5)])}"


def queue_of(invocation_id: str) -> str | None:
    """Return the queue that an id names, or None when the text is no invocation id."""
    match = _ID.fullmatch(invocation_id)
    return match[1] if match else None


def given_ms(invocation_id: str) -> int | None:
    """Return when an id was given out, ms since 1970, or None when the text is no invocation id."""
    if queue_of(invocation_id) is None:
        return None
    moment = 0
    for character in invocation_id[-26:-16]:
        digit = _CROCKFORD.find(character)
        if digit < 0:
            return None
        moment = moment << 5 | digit
    return moment


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys of one queue."""

    queue: str

    @property
    def base(self) -> str:
        return f"oncue:{{{self.queue}}}"

    @property
    def stream(self) -> str:
        return f"{self.base}:stream"

    @property
    def due(self) -> str:
        return f"{self.base}:due"

    @property
    def wake(self) -> str:
        return f"{self.base}:wake"

    @property
    def dead(self) -> str:
        return f"{self.base}:dead"

    @property
    def leases(self) -> str:
        return f"{self.base}:leases"

    @property
    def outbox(self) -> str:
        return f"{self.base}:outbox"

    @property
    def parked(self) -> str:
        return f"{self.base}:parked"

    @property
    def callbacks(self) -> str:
        return f"{self.base}:callbacks"

    @property
    def audit(self) -> str:
        return f"{self.base}:audit"

    @property
    def stats(self) -> str:
        return f"{self.base}:stats"

    @property
    def versions(self) -> str:
        return f"{self.base}:versions"

    def record(self, invocation_id: str) -> str:
        return f"{self.base}:inv:{invocation_id}"

    def result(self, invocation_id: str) -> str:
        return f"{self.base}:res:{invocation_id}"

    def output(self, invocation_id: str) -> str:
        return f"{self.base}:out:{invocation_id}"

    def event(self, event_key: str) -> str:
        return f"{self.base}:event:{event_key}"

    def index(self, function: str | None = None) -> str:
        return f"{self.base}:index" + (f":{function}" if function else "")
