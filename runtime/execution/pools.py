"""The pools of a worker process, one per version."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from runtime.execution.pool import ChildPool

#: Seconds after which a version that nobody asked for, and whose children have all ended, is forgotten.
UNUSED_S = 600.0


class Pools:
    """Makes a version's pool on first need, and forgets it when it has not been needed for long."""

    def __init__(
        self,
        make: Callable[[str], ChildPool],
        forgotten: Callable[[str], None] = lambda version: None,
        unused_s: float = UNUSED_S,
    ) -> None:
        """`forgotten` is told a version whose files are not needed any more."""
        self._make, self._forgotten, self._unused_s = make, forgotten, unused_s
        self._lock = threading.Lock()
        #: one for each version whose pool is being made: an environment may have to be installed for it
        self._making: dict[str, threading.Lock] = {}
        self._pools: dict[str, ChildPool] = {}
        #: when each was asked for last, on the monotonic clock
        self._asked: dict[str, float] = {}

    def get(self, version: str) -> ChildPool:
        """Return the version's pool."""
        self._asked[version] = time.monotonic()  # before it is looked up: `_forget` relies on it
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
        """End children that have been idle for long, and forget versions that have not been asked for in a long time."""
        for version, pool in list(self._pools.items()):
            pool.reap_idle()
            if pool.size == 0 and self._is_unused(version):
                self._forget(version)

    def _is_unused(self, version: str) -> bool:
        return time.monotonic() - self._asked[version] > self._unused_s

    def _forget(self, version: str) -> None:
        with self._making[version]:  # so that nobody makes it anew before its files are let go
            pool = self._pools.pop(version)
            if not self._is_unused(version):  # who asked meanwhile may have found it
                self._pools[version] = pool
                return
            self._forgotten(version)

    def close(self) -> None:
        """End all children."""
        for pool in list(self._pools.values()):
            pool.close()
        self._pools.clear()
