"""The pools of a worker process, one per version."""

from __future__ import annotations

import threading
from collections.abc import Callable

from runtime.execution.pool import ChildPool


class Pools:
    """Makes a version's pool on first need. A pool that nobody needs has neither child nor thread."""

    def __init__(self, make: Callable[[str], ChildPool]) -> None:
        self._make = make
        self._lock = threading.Lock()
        #: one for each version whose pool is being made: an environment may have to be installed for it
        self._making: dict[str, threading.Lock] = {}
        self._pools: dict[str, ChildPool] = {}

    def get(self, version: str) -> ChildPool:
        """Return the version's pool."""
        pool = self._pools.get(version)
        if pool is None:
            with self._lock:
                making = self._making.setdefault(version, threading.Lock())
            with making:
                pool = self._pools.get(version)
                if pool is None:
                    pool = self._pools[version] = self._make(version)
        return pool

    def cancel(self, version: str, invocation_id: str) -> bool:
        """End the child that runs an invocation; False when none does."""
        pool = self._pools.get(version)
        return pool is not None and pool.cancel(invocation_id)

    def reap_idle(self) -> None:
        """End children that have been idle for long."""
        for pool in list(self._pools.values()):
            pool.reap_idle()

    def close(self) -> None:
        """End all children."""
        for pool in list(self._pools.values()):
            pool.close()
        self._pools.clear()
