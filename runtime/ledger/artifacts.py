"""Results as handlers read them: by invocation id, from Redis or the object store, blocking."""

from __future__ import annotations

from typing import Any

import msgspec

from runtime.authoring.errors import OnCueError
from runtime.ledger.keys import QueueKeys, queue_of
from runtime.ledger.records import ResultInfo
from runtime.ledger.store import ResultStore
from runtime.ledger.wire import client

_RESULT = msgspec.json.Decoder(ResultInfo).decode


class NoArtifactError(OnCueError):
    """An invocation has no result to read, and will have none by itself."""


class Artifacts:
    """Reads results; any number of threads may."""

    def __init__(self, url: str, store: ResultStore) -> None:
        self._redis = client(url)
        self._store = store

    def read(self, invocation_id: str) -> tuple[ResultInfo, bytes]:
        """Return a result and what is known of it.

        Raises:
            NoArtifactError: there is no such invocation, it has not succeeded, or its result has expired.
            Exception: whatever redis-py or the object store raise when they are away.
        """
        queue = queue_of(invocation_id)
        keys = QueueKeys(queue or "")
        status, result = self._get("HMGET", keys.record(invocation_id), "status", "result") if queue else (None, None)
        if status is None:
            raise NoArtifactError(f"there is no invocation {invocation_id!r}; it never was, or its record has expired")
        if result is None:
            raise NoArtifactError(f"invocation {invocation_id!r} has no result: it is {status.decode()}")
        info = _RESULT(result)
        if info.size == 0:
            return info, b""
        in_store = info.place == "store"
        body = self._store.read(invocation_id, info.sha256) if in_store else self._get("GET", keys.result(invocation_id))
        if body is None:
            raise NoArtifactError(f"the result of {invocation_id!r} has expired; keep it longer with result_ttl=")
        return info, body

    def _get(self, *command: str) -> Any:
        return self._redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
