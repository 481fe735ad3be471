"""The versions' files where every host can read them: in Redis up to a bound, in the object store beyond."""

from __future__ import annotations

import io

from runtime.authoring.errors import OnCueError
from runtime.ledger.keys import archive_key, lock_key
from runtime.ledger.store import ObjectStore
from runtime.ledger.wire import client
from runtime.versions.archive import read_archive, write_archive
from runtime.versions.pack import Pack

#: Archives up to this many bytes live in Redis.
INLINE_BYTES = 8 * 2**20


class VersionGoneError(OnCueError):
    """A version's files are nowhere to be had."""


class VersionStore:
    """Keeps archives by version, and the pinned requirements that go with them. Blocking; safe to share between threads."""

    def __init__(self, url: str, objects: ObjectStore, *, inline_bytes: int = INLINE_BYTES) -> None:
        self._redis = client(url)
        self._objects = objects
        self._inline_bytes = inline_bytes

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def put(self, packed: Pack, lock: str = "") -> None:
        """Keep a version; returns when every host can read it. A version that is there is left as it is."""
        key = archive_key(packed.version)
        if not self._redis.exists(key):
            archive = write_archive(packed)
            if len(archive) > self._inline_bytes:
                self._objects.put(_path(packed.version), archive)
                archive = b""  # says where it is
            self._redis.set(key, archive)
        if lock:
            self._redis.set(lock_key(packed.version), lock, nx=True)

    def get(self, version: str, folder: str) -> Pack:
        """Return a version's files, checked against its digest.

        Raises:
            VersionGoneError: they are gone, or not what they were.
        """
        archive: bytes | None = self._redis.get(archive_key(version))  # type: ignore[assignment]  # redis-py types it for both clients
        if archive == b"":
            archive = self._objects.get(_path(version))
        if not archive:
            raise VersionGoneError(
                f"the files of {folder} at version {version} are not in the store; deploy that version again, "
                "and see that all hosts share one ONCUE_STORE"
            )
        packed = read_archive(io.BytesIO(archive), folder, is_own=True)
        if packed.version != version:
            raise VersionGoneError(
                f"the store's files of {folder} are {packed.version}, not {version}; deploy that version again"
            )
        return packed

    def lock(self, version: str) -> str:
        """Return the pinned requirements of a version; empty when it has none."""
        text: bytes | None = self._redis.get(lock_key(version))  # type: ignore[assignment]  # as above
        return text.decode() if text else ""

    def delete(self, versions: list[str]) -> None:
        """Forget versions that nothing needs any more."""
        if versions:
            self._objects.delete([_path(version) for version in versions])
            self._redis.delete(*(key(version) for version in versions for key in (archive_key, lock_key)))


def _path(version: str) -> str:
    return f"versions/{version}.zip"
