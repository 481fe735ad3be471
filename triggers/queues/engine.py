"""The queue sources of one process: one keeper for each that is deployed, started and stopped as the catalog says.

Any number of these may run: the members of a group, or the consumers of a queue, share the messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Coroutine
from typing import Any

import structlog

from runtime.versions.catalog import Catalog
from triggers.queues.accepting import Accepting
from triggers.queues.keeper import Keeper
from triggers.queues.listener import FINISH_S, end
from triggers.queues.source import Connections, declared
from triggers.queues.status import STATUS_S, forget, tell

#: Seconds that listeners may take to stop; hand-offs under way have `FINISH_S` of them.
STOP_S = 2 * FINISH_S


class QueueEngine:
    """Keeps a listener on every queue source of the catalog; belongs to one event loop."""

    def __init__(self, url: str, connections: Connections) -> None:
        self._accepting = Accepting(url)
        self._connections = connections
        self._keepers: dict[str, Keeper] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._process = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._changed = asyncio.Event()
        self._log = structlog.get_logger("oncue.queues")

    async def start(self) -> None:
        """Begin to keep what `serve` is given; returns at once, also while Redis is away."""
        self._begin(self._tell())

    def serve(self, catalog: Catalog) -> None:
        """Listen to the sources of this catalog from now on, and to no others."""
        sources = declared(catalog)
        for source_id in self._keepers.keys() - sources.keys():
            self._begin(self._keepers.pop(source_id).close(STOP_S))
        for source_id, source in sources.items():
            keeper = self._keepers.get(source_id)
            if keeper is None:
                keeper = self._keepers[source_id] = Keeper(source, self._accepting, self._connections, self._changed.set)
                keeper.start()
            keeper.hand_off.source, keeper.hand_off.catalog = source, catalog

    async def close(self) -> None:
        """Stop intake, finish hand-offs, acknowledge them, and give back the rest."""
        await asyncio.gather(*(keeper.close(STOP_S) for keeper in self._keepers.values()))
        await end(set(self._tasks))
        await forget(self._accepting.reads, self._process)
        await self._accepting.close()

    async def _tell(self) -> None:
        while True:
            reports = [(keeper.hand_off.source, keeper.report) for keeper in self._keepers.values()]
            await tell(self._accepting.reads, self._process, reports)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), STATUS_S)
            self._changed.clear()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
