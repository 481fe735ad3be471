"""The object store: results beyond 1 MiB and large versions, in a local directory by default, or in S3 by URL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

#: Results up to this many bytes live in Redis.
INLINE_BYTES = 2**20

#: No result is kept for longer, seconds (the bound of `result_ttl`).
MAX_RESULT_TTL_S = 30 * 86400.0

_PREFIX: Final = "results/"


class ObjectStore:
    """Keeps bytes by path.

    `url` is "file:///…" or "s3://bucket/prefix"; credentials come from the usual AWS variables.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: Any = None

    @property
    def _store(self) -> Any:
        # Opened on first use: most processes never meet a large object.
        if self._opened is None:
            from obstore.store import LocalStore, from_url  # as above

            if self._url.startswith("file://"):
                folder = Path(self._url.removeprefix("file://"))
                self._opened = LocalStore(folder, automatic_cleanup=True, mkdir=True)
            else:
                self._opened = from_url(self._url)
        return self._opened

    def put(self, path: str, body: bytes) -> None:
        """Write an object; returns when the store has it."""
        self._store.put(path, body)

    def get(self, path: str) -> bytes | None:
        """Return an object's bytes, or None when there is none. Blocks."""
        try:
            return bytes(self._store.get(path).bytes())
        except FileNotFoundError:
            return None

    async def get_async(self, path: str) -> bytes | None:
        """As `get`, on the event loop."""
        try:
            answer = await self._store.get_async(path)
            return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None

    def delete(self, paths: list[str]) -> None:
        """Delete objects; those that are not there are passed by."""
        for path in paths:
            try:
                self._store.delete(path)
            except FileNotFoundError:
                continue

    def list(self, prefix: str) -> Iterator[list[tuple[str, datetime]]]:
        """Yield the paths below `prefix`, some at a time, each with the moment it was written, aware."""
        for batch in self._store.list(prefix):
            yield [(item["path"], item["last_modified"]) for item in batch]


class ResultStore:
    """Keeps the bytes of large results below `results/` of an object store, by invocation id and SHA-256 (hex).

    A worker that was given up for lost may write a result after another attempt has succeeded: that must keep its own.
    """

    def __init__(self, url: str) -> None:
        self._objects = ObjectStore(url)

    def put(self, invocation_id: str, sha256: str, body: bytes) -> None:
        """Write a result; returns when the store has it."""
        self._objects.put(_PREFIX + name_of(invocation_id, sha256), body)

    def read(self, invocation_id: str, sha256: str) -> bytes | None:
        """Return a result's bytes, or None when they are gone. Blocks."""
        return self._objects.get(_PREFIX + name_of(invocation_id, sha256))

    async def get(self, invocation_id: str, sha256: str) -> bytes | None:
        """Return a result's bytes, or None when they are gone."""
        return await self._objects.get_async(_PREFIX + name_of(invocation_id, sha256))

    def ages(self) -> Iterator[dict[str, float]]:
        """Yield how many seconds ago results were written, by name, some at a time."""
        now = datetime.now(UTC)
        for batch in self._objects.list(_PREFIX):
            yield {path.removeprefix(_PREFIX): (now - written).total_seconds() for path, written in batch}

    def delete(self, names: list[str]) -> None:
        """Delete results; those that are not there are passed by."""
        self._objects.delete([_PREFIX + name for name in names])


def name_of(invocation_id: str, sha256: str) -> str:
    """Return the name of a result in the store; what comes before the dot is the id."""
    return f"{invocation_id}.{sha256[:16]}"
