"""Warms what is about to be served: a worker hears of a version before it is switched to, and starts a child of it.

The first invocation after a deploy then finds a child, and waits for no import.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import redis
import structlog

from runtime.ledger.keys import ANNOUNCED, DEPLOYED
from runtime.ledger.wire import client
from runtime.versions.pointers import live_versions
from runtime.versions.registry import Registry

#: Seconds between two looks whether to stop, and between two tries to reach Redis.
LOOK_S = 1.0


class Preparer:
    """Listens on a thread of its own; `warm(version)` may block, and may fail: the first invocation then tells."""

    def __init__(self, url: str, registry: Registry, warm: Callable[[str], None]) -> None:
        self._url = url
        self._registry = registry
        self._warm = warm
        self._stopping = threading.Event()
        self._log = structlog.get_logger("oncue.preparer")
        self._thread = threading.Thread(target=self._run, name="preparer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop listening; a version that is being warmed is waited for by nobody."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with client(self._url, decode_responses=True) as connection:
                    self._listen(connection)
            except redis.RedisError:
                self._stopping.wait(LOOK_S)

    def _listen(self, connection: redis.Redis) -> None:
        with connection.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]  # redis-py has no types for it
            subscription.subscribe(ANNOUNCED, DEPLOYED)
            while not self._stopping.is_set():
                message = subscription.get_message(timeout=LOOK_S)
                if message is None:
                    continue
                if message["channel"] == ANNOUNCED:
                    self._try(message["data"])
                    self._registry.is_warm(message["data"])
                else:  # a rollback: most of the time there is a warm child still
                    deployed = self._registry.catalog().folders.get(message["data"])
                    for version in live_versions(deployed) if deployed is not None else ():
                        self._try(version)

    def _try(self, version: str) -> None:
        try:
            self._warm(version)
        except Exception as error:  # noqa: BLE001  # whatever it is, the version's first invocation meets it, and tells
            self._log.warning("a version could not be warmed", version=version, reason=str(error))
