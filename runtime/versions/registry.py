"""The registry in Redis: which version each folder serves, every version's manifest, and what is quarantined.

oncue:folders            hash   folder -> JSON {version, deployed_ms, who} | field "!<folder>" -> JSON problem
oncue:version:<version>  string the manifest's JSON
oncue:deployed           channel  a message whenever the hash changes
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import redis
import redis.asyncio
import structlog
from redis.exceptions import RedisError

from runtime.authoring.manifest import Manifest, Problem
from runtime.ledger.keys import DEPLOYED, FOLDERS, version_key
from runtime.ledger.wire import client
from runtime.versions.catalog import Catalog, Deployed

#: Seconds between two looks at the registry when no notification came.
POLL_S = 2.0

_PROBLEM = "!"


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
        return _catalog(_text(self._redis.hgetall(FOLDERS)), self.manifest)

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
            manifest = self._manifests[version] = Manifest.model_validate_json(document)
        return manifest

    def switch(self, deployed: Deployed) -> None:
        """Serve this version of the folder from now on, and tell every process."""
        pointer = msgspec.json.encode({"version": deployed.version, "deployed_ms": deployed.deployed_ms, "who": deployed.who})
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(version_key(deployed.version), deployed.manifest.model_dump_json(by_alias=True))
            pipeline.hset(FOLDERS, deployed.folder, pointer)
            pipeline.hdel(FOLDERS, _PROBLEM + deployed.folder)
            pipeline.publish(DEPLOYED, deployed.folder)
            pipeline.execute()

    def quarantine(self, problem: Problem) -> None:
        """Record why a folder cannot be deployed as it is; what it served before goes on."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(FOLDERS, _PROBLEM + problem.folder, problem.model_dump_json())
            pipeline.publish(DEPLOYED, problem.folder)
            pipeline.execute()

    def drop(self, folder: str) -> None:
        """Serve nothing of the folder any more; accepted work still runs on its version."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hdel(FOLDERS, folder, _PROBLEM + folder)
            pipeline.publish(DEPLOYED, folder)
            pipeline.execute()


class CatalogFollower:
    """Keeps a process's catalog current: by notification, and by polling as a fallback. For the event loop."""

    def __init__(self, url: str, changed: Callable[[Catalog], None] = lambda _: None) -> None:
        self._registry = Registry(url)
        self._listener = redis.asyncio.Redis.from_url(url, socket_timeout=None, health_check_interval=15, protocol=2)
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._told = False
        self.catalog = Catalog()

    async def start(self) -> None:
        """Read the catalog once (unless Redis is away), then follow it."""
        with contextlib.suppress(RedisError, OSError):
            await self._refresh()
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._listener.aclose()
        self._registry.close()

    async def _refresh(self) -> None:
        catalog = await asyncio.to_thread(self._registry.catalog)
        if catalog != self.catalog or not self._told:
            self._told = True
            self.catalog = catalog
            self._changed(catalog)

    async def _follow(self) -> None:
        while True:
            try:
                async with self._listener.pubsub() as subscription:
                    await subscription.subscribe(DEPLOYED)
                    while True:
                        await self._refresh()
                        await subscription.get_message(ignore_subscribe_messages=True, timeout=POLL_S)
            except (RedisError, OSError):
                await asyncio.sleep(1.0)


def _text(reply: Any) -> dict[str, str]:
    return dict(reply)


def _catalog(pointers: dict[str, str], manifest: Callable[[str], Manifest]) -> Catalog:
    folders: dict[str, Deployed] = {}
    problems: list[Problem] = []
    for name, document in sorted(pointers.items()):
        if name.startswith(_PROBLEM):
            problems.append(Problem.model_validate_json(document))
            continue
        pointer = msgspec.json.decode(document)
        try:
            folders[name] = Deployed(
                name, pointer["version"], manifest(pointer["version"]), pointer["deployed_ms"], pointer["who"]
            )
        except KeyError:
            structlog.get_logger("oncue.registry").warning(
                "a folder's version has no manifest; deploy the folder again", folder=name, version=pointer["version"]
            )
    return Catalog(folders, tuple(problems))
