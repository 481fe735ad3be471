"""The triggers process: what makes functions run without being asked over HTTP. Safe to run any number of times.

Each source follows the catalog by itself: `start`, then `serve(catalog)` whenever a deploy has changed it, `close`.
"""

from __future__ import annotations

import asyncio
import signal

import uvloop

from infra.settings import Settings, connection, connection_variable
from runtime.versions.catalog import Catalog
from runtime.versions.following import CatalogFollower
from triggers.cron.engine import CronEngine
from triggers.queues.engine import QueueEngine
from triggers.queues.source import Connection


async def serve(settings: Settings) -> None:
    """Run all trigger sources until SIGTERM or SIGINT.

    Raises:
        SettingsError: no Redis is configured.
    """
    url = settings.ledger_url
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    sources: list[CronEngine | QueueEngine] = [CronEngine(url), QueueEngine(url, _connection)]

    def changed(catalog: Catalog) -> None:
        for source in sources:
            source.serve(catalog)

    follower = CatalogFollower(url, changed)
    for source in sources:
        await source.start()
    await follower.start()
    await stopping.wait()
    await follower.close()
    for source in sources:
        await source.close()


def _connection(name: str) -> Connection:
    return Connection(connection_variable(name), connection(name))


def main(settings: Settings) -> None:
    """Run the triggers process of this host until it is told to stop. Raises as `serve`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
