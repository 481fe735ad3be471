"""The registry in Redis: which version each folder serves, every version's manifest, and what is quarantined.

oncue:folders            hash   what each folder serves, and what is wrong with it (pointers.py)
oncue:version:<version>  string the manifest's JSON
oncue:versions:<folder>  zset   version by the time it was last live, ms
oncue:history:<folder>   list   what was done to the folder (history.py)
oncue:synced:<digest>    hash   folder -> the version of it that was last seen in a folder of folders
oncue:deployed           channel  a folder's name whenever the hash changes
oncue:announced          channel  a version that is about to be served; workers warm it, and say so in
oncue:warmed:<version>   list     one element for each worker that is ready
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from redis.exceptions import WatchError

from runtime.authoring.errors import OnCueError
from runtime.authoring.manifest import Manifest, Problem
from runtime.ledger.keys import ANNOUNCED, DEPLOYED, FOLDERS, history_key, version_key, versions_key, warmed_key
from runtime.ledger.wire import client
from runtime.versions.catalog import Catalog, Deployed
from runtime.versions.history import MAX_ENTRIES, Action, Entry, Origin, decode, encode
from runtime.versions.pointers import live_versions, problem_field, read_catalog, write_pointer

#: Manifests that a process keeps at hand; the one that it read first is read anew when it is wanted again.
MAX_MANIFESTS = 1000
#: Seconds that what workers said of a version is kept.
WARMED_TTL_S = 60


class StaleError(OnCueError):
    """A folder serves something else than what a change was made of."""


class Registry:
    """Reads and switches what is deployed. Blocking; safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._redis = client(url, decode_responses=True)
        self._manifests: dict[str, Manifest] = {}

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def catalog(self) -> Catalog:
        """Return what is deployed now."""
        return read_catalog(_text(self._redis.hgetall(FOLDERS)), self.manifest)

    def manifest(self, version: str) -> Manifest:
        """Return a version's manifest.

        Raises:
            KeyError: there is no such version.
        """
        manifest = self._manifests.get(version)
        if manifest is None:
            document: Any = self._redis.get(version_key(version))
            if document is None:
                raise KeyError(version)
            for earliest in list(self._manifests)[: 1 - MAX_MANIFESTS]:
                self._manifests.pop(earliest, None)
            manifest = self._manifests[version] = Manifest.model_validate_json(document)
        return manifest

    def announce(self, folder: str, version: str, manifest: Manifest) -> int:
        """Make a version known before it is switched to, so that workers warm it; return how many have heard of it."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(version_key(version), manifest.model_dump_json(by_alias=True))
            pipeline.zadd(versions_key(folder), {version: self.now_ms()})
            pipeline.delete(warmed_key(version))
            pipeline.publish(ANNOUNCED, version)
            return int(pipeline.execute()[-1])

    def await_warm(self, version: str, workers: int, *, within_s: float) -> bool:
        """Wait until so many workers have a warm child of an announced version; False when they have not in time."""
        ends = time.monotonic() + within_s
        for _ in range(workers):
            left = ends - time.monotonic()
            # Zero would wait for ever.
            if left <= 0 or self._redis.blpop([warmed_key(version)], timeout=left) is None:
                return False
        return True

    def is_warm(self, version: str) -> None:
        """Say that this worker has a warm child of an announced version, or has tried."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.rpush(warmed_key(version), 1)
            pipeline.expire(warmed_key(version), WARMED_TTL_S)
            pipeline.execute()

    def switch(
        self,
        deployed: Deployed,
        *,
        action: Action = "deploy",
        by: Origin | None = None,
        check: bool = False,
        besides: Collection[str] = (),
        of: Deployed | None = None,
    ) -> None:
        """Serve this version of the folder from now on, and tell every process.

        `by`: who does it, where that is not who deployed the version. With `check` it is refused when it clashes with
        what is deployed at that very moment; `besides`: folders that do not count, as they are about to change.
        `of`: what the folder must serve at that moment, if that matters.

        Raises:
            DeclarationError: it clashes.
            KeyError: a version that is not of this moment has been collected meanwhile.
            StaleError: it serves something else than `of`.
        """

        def write(pipeline: Any, catalog: Catalog) -> None:
            if check:
                Catalog({name: each for name, each in catalog.folders.items() if name not in besides}).check(deployed.manifest)
            if action != "deploy" and not pipeline.exists(version_key(deployed.version)):
                raise KeyError(deployed.version)
            before = catalog.folders.get(deployed.folder)
            if of is not None and before != of:
                raise StaleError(deployed.folder)
            # What stops being live now is kept for a while from now on, as what begins is.
            now_ms = self.now_ms()
            live = {before.version: now_ms - 2} if before is not None else {}
            live[deployed.version] = now_ms - 1
            pipeline.multi()
            pipeline.set(version_key(deployed.version), deployed.manifest.model_dump_json(by_alias=True))
            if deployed.candidate is not None:
                live[deployed.candidate.version] = now_ms
                document = deployed.candidate.manifest.model_dump_json(by_alias=True)
                pipeline.set(version_key(deployed.candidate.version), document)
            pipeline.hset(FOLDERS, deployed.folder, write_pointer(deployed))
            pipeline.hdel(FOLDERS, problem_field(deployed.folder))
            pipeline.zadd(versions_key(deployed.folder), live)
            self._note(pipeline, deployed.folder, _entry(deployed, action, by, now_ms))
            pipeline.publish(DEPLOYED, deployed.folder)

        self._transact(write)

    def quarantine(self, problem: Problem) -> None:
        """Record why a folder cannot be deployed as it is; what it served before goes on."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(FOLDERS, problem_field(problem.folder), problem.model_dump_json())
            pipeline.publish(DEPLOYED, problem.folder)
            pipeline.execute()

    def drop(self, folder: str, who: str = "") -> None:
        """Serve nothing of the folder any more; accepted work still runs on its version."""

        def write(pipeline: Any, catalog: Catalog) -> None:
            before, now_ms = catalog.folders.get(folder), self.now_ms()
            pipeline.multi()
            pipeline.hdel(FOLDERS, folder, problem_field(folder))
            if before is not None:
                pipeline.zadd(versions_key(folder), {before.version: now_ms})
                self._note(pipeline, folder, Entry("undeploy", before.version, now_ms, who))
            pipeline.publish(DEPLOYED, folder)

        self._transact(write)

    def forget(self, folder: str, versions: Mapping[str, int]) -> list[str]:
        """Delete versions of a folder, but for those that are live or were announced meanwhile; return the deleted ones.

        `versions`: when each was last live, as `versions()` told it.
        """
        gone: list[str] = []

        def write(pipeline: Any, catalog: Catalog) -> None:
            live = {v for deployed in catalog.folders.values() for v in live_versions(deployed)}
            pipeline.watch(versions_key(folder))
            now = dict(pipeline.zrange(versions_key(folder), 0, -1, withscores=True))
            gone[:] = [each for each, at_ms in versions.items() if each not in live and now.get(each) == at_ms]
            pipeline.multi()
            if gone:
                pipeline.delete(*map(version_key, gone))
                pipeline.zrem(versions_key(folder), *gone)

        self._transact(write)
        for version in gone:
            self._manifests.pop(version, None)
        return gone

    def history(self, folder: str, *, most: int = MAX_ENTRIES) -> list[Entry]:
        """Return what was done to a folder, newest first."""
        entries: Any = self._redis.lrange(history_key(folder), 0, most - 1)
        return [decode(entry) for entry in entries]

    def versions(self, folder: str) -> dict[str, int]:
        """Return the folder's versions that are kept, and when each was last live (ms), newest first."""
        members: Any = self._redis.zrevrange(versions_key(folder), 0, -1, withscores=True)
        return {version: int(at_ms) for version, at_ms in members}

    def synced(self, root: Path) -> dict[str, str]:
        """Return the folders below `root` as they were seen there last: folder -> version."""
        return _text(self._redis.hgetall(_synced_key(root)))

    def note_synced(self, root: Path, folder: str, version: str | None) -> None:
        """Note the version of a folder that is seen below `root`; None: it is there no more."""
        if version is None:
            self._redis.hdel(_synced_key(root), folder)
        else:
            self._redis.hset(_synced_key(root), folder, version)

    def now_ms(self) -> int:
        """Return the time by the server's clock, which all hosts share: ms since 1970."""
        seconds, microseconds = self._redis.time()
        return seconds * 1000 + microseconds // 1000

    def _note(self, pipeline: Any, folder: str, entry: Entry) -> None:
        pipeline.lpush(history_key(folder), encode(entry))
        pipeline.ltrim(history_key(folder), 0, MAX_ENTRIES - 1)

    def _transact(self, write: Callable[[Any, Catalog], None]) -> None:
        """Have `write` queue its commands against the catalog as it is; anew whenever that changes under it."""
        while True:
            with self._redis.pipeline(transaction=True) as pipeline:
                try:
                    pipeline.watch(FOLDERS)  # type: ignore[no-untyped-call]  # redis-py has no types for it
                    write(pipeline, read_catalog(_text(pipeline.hgetall(FOLDERS)), self.manifest))
                    pipeline.execute()
                    return
                except WatchError:
                    continue


def _text(reply: Any) -> dict[str, str]:
    return dict(reply)


def _entry(deployed: Deployed, action: Action, by: Origin | None, at_ms: int) -> Entry:
    about = deployed.candidate or deployed
    share = deployed.candidate.percent if deployed.candidate else 0
    by = by or Origin(deployed.who, deployed.commit, deployed.dirty)
    return Entry(action, about.version, at_ms, by.who, by.commit, by.dirty, share)


def _synced_key(root: Path) -> str:
    return f"oncue:synced:{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]}"
