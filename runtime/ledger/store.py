"""The object store: results beyond 1 MiB and large versions, in a local directory by default, or in S3 by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: Results up to this many bytes live in Redis.
INLINE_BYTES = 2**20


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

    def delete_older_than(self, prefix: str, age_s: float) -> int:
        """Delete the objects below `prefix` that are older than `age_s` seconds; return how many."""
        import datetime  # only the sweeper needs it

        limit = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age_s)
        old = [item["path"] for batch in self._store.list(prefix) for item in batch if item["last_modified"] < limit]
        if old:
            self._store.delete(old)
        return len(old)


class ResultStore:
    """Keeps the bytes of large results by invocation id, below `results/` of an object store."""

    def __init__(self, url: str) -> None:
        self._objects = ObjectStore(url)

    def put(self, invocation_id: str, body: bytes) -> None:
        """Write a result; returns when the store has it."""
        self._objects.put(_path(invocation_id), body)

    def read(self, invocation_id: str) -> bytes | None:
        """Return a result's bytes, or None when they are gone. Blocks."""
        return self._objects.get(_path(invocation_id))

    async def get(self, invocation_id: str) -> bytes | None:
        """Return a result's bytes, or None when they are gone."""
        return await self._objects.get_async(_path(invocation_id))

    def delete_older_than(self, age_s: float) -> int:
        """Delete results older than `age_s` seconds; return how many."""
        return self._objects.delete_older_than("results/", age_s)


def _path(invocation_id: str) -> str:
    return f"results/{invocation_id}"
