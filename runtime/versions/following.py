"""A process's picture of what is deployed, kept current."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from runtime.ledger.following import AWAY, Follower
from runtime.ledger.keys import DEPLOYED
from runtime.versions.catalog import Catalog
from runtime.versions.registry import Registry

#: Seconds between two looks at the registry when no notification came.
POLL_S = 2.0


class CatalogFollower:
    """Keeps a process's catalog current: by notification, and by polling as a fallback. For the event loop."""

    def __init__(self, url: str, changed: Callable[[Catalog], None] = lambda _: None) -> None:
        self._registry = Registry(url)
        self._follower = Follower(url, DEPLOYED, self.refresh, poll_s=POLL_S)
        self._changed = changed
        self._turn = asyncio.Lock()
        self._told = False
        self.catalog = Catalog()

    async def start(self) -> None:
        """Read the catalog once (unless Redis is away), then follow it."""
        with contextlib.suppress(*AWAY):
            await self.refresh()
        self._follower.start()

    async def close(self) -> None:
        """Stop following."""
        await self._follower.close()
        self._registry.close()

    async def refresh(self) -> None:
        """Read the catalog now, and tell of it when it has changed.

        Raises:
            AWAY: Redis is away.
        """
        async with self._turn:  # else what was read earlier may be told later
            catalog = await asyncio.to_thread(self._registry.catalog)
            if catalog != self.catalog or not self._told:
                self._changed(catalog)  # when this fails, it is told again
                self.catalog, self._told = catalog, True
