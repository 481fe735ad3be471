"""The values that enter and leave the ledger.

The record of an invocation is a hash with these fields; `attempt`, `fence`, `lost` and `deaths` count from absent = 0:

    function, version, event (JSON), blob (raw body), key (idempotency key), trace (JSON), caller, replay_of
    callback   the URL to tell of the end           callbacks  tries to tell it
    called_back   JSON of the last of them: {state: "waiting" | "told" | "gone" | "given_up", at_ms, answer, reason}
    then       JSON of a follow-up that leaves when it succeeds: {kind: "then", function, data}
    status, accepted_ms, due_ms, started_ms, ended_ms
    attempt    how many tries have begun            fence    the token that `finish` must show
    lost       tries whose worker vanished          deaths   tries whose child died
    entry      its stream entry while it runs       worker   the consumer that runs it
    a<n>       JSON of attempt n: {started_ms, ended_ms, outcome, error, duration_ms}
    error      JSON of the last failure (`Failure` below)
    result     JSON {media_type, size, filename, sha256, place: "redis" | "store"}, result_until_ms
    progress   JSON {fraction, note}                watch    somebody wants to be told
    cancel     somebody wants it cancelled          replayed_as   the id of its replay
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Status = Literal["scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled"]

#: States that no longer change.
FINAL: frozenset[str] = frozenset(("succeeded", "failed", "cancelled"))


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be accepted: one function, one event."""

    id: str
    queue: str
    function: str
    version: str
    #: the event's JSON document
    event: bytes
    #: a raw body, for the function's one `bytes` parameter
    blob: bytes | None = None
    #: digest of (caller, function, idempotency key); empty: no dedupe
    dedupe: str = ""
    #: digest of the request body; the same key with another one is a conflict
    fingerprint: str = ""
    dedupe_ttl_s: float = 86400.0
    #: start this many seconds after acceptance, or at a moment (ms since 1970)
    delay_s: float = 0.0
    at_ms: int = 0
    #: tell the news channel of every change
    watch: bool = False
    #: the caller's idempotency key; the id when there is none
    key: str = ""
    #: further fields of the record: trace, caller, replay_of
    more: dict[str, str] = {}
    #: digest of (function, version, arguments): a twin's run answers for this one; empty: no cache
    cache: str = ""
    cache_ttl_s: float = 0.0

    def packed(self) -> bytes:
        """Return the msgpack array that scripts/accept.lua reads."""
        more: list[str] = []
        for name, value in self.more.items():
            more += (name, value)
        return _PACK(
            (
                self.id,
                self.function,
                self.version,
                msgpack_text(self.event),
                False if self.blob is None else msgpack_text(self.blob),
                self.dedupe,
                self.fingerprint,
                int(self.dedupe_ttl_s * 1000),
                int(self.delay_s * 1000),
                self.at_ms,
                int(self.watch),
                self.key or self.id,
                more,
                self.cache,
                int(self.cache_ttl_s * 1000),
            )
        )


class Accepted(msgspec.Struct, frozen=True):
    """The answer to an acceptance."""

    #: the id of the invocation: the given one, or the one that was there
    id: str
    #: "cached": a twin with the same arguments runs, or has just run, and answers for this one
    outcome: Literal["new", "duplicate", "cached", "conflict"]


class Claim(msgspec.Struct, frozen=True):
    """The right to run one attempt, until its lease runs out."""

    queue: str
    #: the entry in the queue's stream; empty when another carrier delivered
    entry: str
    id: str
    #: which try this is, from 1
    attempt: int
    fence: int
    #: earlier tries whose worker vanished, and whose child died
    lost: int
    deaths: int
    function: str
    version: str
    key: str
    event: bytes
    blob: bytes | None
    trace: bytes | None
    accepted_ms: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, as `finish` writes it."""

    claim: Claim
    outcome: Literal["succeeded", "retrying", "failed", "cancelled"]
    #: a JSON object of what is kept of the attempt; its times are added when it is written
    attempt: bytes
    #: the child was lost, which counts towards poison
    died: bool = False
    retry_in_s: float = 0.0
    #: JSON of the failure; empty when there is none
    error: bytes = b""
    #: JSON of the result's description, and its bytes when Redis keeps them
    result: bytes = b""
    body: bytes = b""
    result_ttl_s: float = 86400.0
    record_ttl_s: float = 86400.0
    output: list[bytes] = []
    follow_ups: list[bytes] = []

    @property
    def size(self) -> int:
        """How many bytes its larger parts have."""
        return len(self.body) + len(self.error) + sum(map(len, self.output)) + sum(map(len, self.follow_ups))

    def packed(self) -> bytes:
        """Return the msgpack array that scripts/finish.lua reads."""
        claim = self.claim
        return _PACK(
            (
                claim.id,
                claim.fence,
                claim.entry,
                self.outcome,
                int(self.died),
                int(self.retry_in_s * 1000),
                msgpack_text(self.error),
                msgpack_text(self.attempt),
                msgpack_text(self.result),
                msgpack_text(self.body),
                int(self.result_ttl_s * 1000),
                int(self.record_ttl_s * 1000),
                [msgpack_text(frame) for frame in self.output],
                [msgpack_text(follow_up) for follow_up in self.follow_ups],
            )
        )


class ResultInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a result besides its bytes."""

    media_type: str
    size: int
    sha256: str
    filename: str | None = None
    #: where the bytes are: "redis", or "store" for the object store
    place: Literal["redis", "store"] = "redis"


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """The record of an invocation, as readers see it. Times are ms since 1970."""

    id: str
    queue: str
    function: str
    version: str
    status: Status
    attempt: int
    accepted_ms: int
    due_ms: int
    started_ms: int | None
    ended_ms: int | None
    key: str
    lost: int
    deaths: int
    error: dict[str, Any] | None
    result: ResultInfo | None
    result_until_ms: int | None
    progress: dict[str, Any] | None
    replay_of: str | None
    #: the newest invocation that replays this one
    replayed_as: str | None
    #: what is kept of each attempt, in order
    attempts: list[dict[str, Any]]
    #: the URL to tell of the end, the tries to tell it, and what came of the last one
    callback: str | None = None
    callbacks: int = 0
    called_back: dict[str, Any] | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


def msgpack_text(data: bytes) -> msgspec.Raw:
    """Encode bytes as msgpack's str 32: the decoder inside Redis (lua-cmsgpack) knows no bin types."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)


_PACK = msgspec.msgpack.Encoder().encode
_JSON = msgspec.json.Decoder().decode
_RESULT = msgspec.json.Decoder(ResultInfo).decode


def read_record(invocation_id: str, queue: str, fields: dict[bytes, bytes]) -> Invocation:
    """Build an `Invocation` from the fields of its hash."""

    def text(name: bytes) -> str:
        return fields[name].decode()

    def number(name: bytes) -> int | None:
        return int(fields[name]) if name in fields else None

    def document(name: bytes) -> Any:
        return _JSON(fields[name]) if fields.get(name) else None

    attempt = number(b"attempt") or 0
    kept = ((n, document(b"a%d" % n)) for n in range(1, attempt + 1))
    status: Any = text(b"status")
    return Invocation(
        id=invocation_id,
        queue=queue,
        function=text(b"function"),
        version=text(b"version"),
        status=status,
        attempt=attempt,
        accepted_ms=int(fields[b"accepted_ms"]),
        due_ms=int(fields[b"due_ms"]),
        started_ms=number(b"started_ms"),
        ended_ms=number(b"ended_ms"),
        key=text(b"key"),
        lost=number(b"lost") or 0,
        deaths=number(b"deaths") or 0,
        error=document(b"error"),
        result=_RESULT(fields[b"result"]) if b"result" in fields else None,
        result_until_ms=number(b"result_until_ms"),
        progress=document(b"progress"),
        replay_of=text(b"replay_of") if b"replay_of" in fields else None,
        replayed_as=text(b"replayed_as") if b"replayed_as" in fields else None,
        callback=text(b"callback") if b"callback" in fields else None,
        callbacks=number(b"callbacks") or 0,
        called_back=document(b"called_back"),
        attempts=[{"attempt": n, **document} for n, document in kept if document is not None],
    )
