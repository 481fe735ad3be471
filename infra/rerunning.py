"""Invokes the last invocation anew, with the same input, on what is served now: the key `r` of `oncue dev`."""

from __future__ import annotations

import contextlib

from infra.settings import Settings
from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.operations import Operations, Target
from runtime.ledger.records import Invocation
from runtime.ledger.store import ResultStore
from runtime.versions.registry import Registry


async def rerun(settings: Settings) -> str:
    """Rerun the last invocation; return what to say of it."""
    url = settings.ledger_url
    with contextlib.closing(Registry(url)) as registry:
        functions = registry.catalog().functions

    def target(record: Invocation) -> Target | None:
        function = functions.get(record.function)
        return None if function is None else Target(function.manifest.options.queue, function.version)

    ledger = AsyncLedger(url, ResultStore(settings.store_url))
    await ledger.start()
    try:
        newest = (await ledger.page(limit=1)).invocations
        if not newest:
            return "nothing has been invoked yet"
        accepted = await Operations(ledger, target).replay(newest[0])
        return (
            "nothing is kept of the last invocation"
            if accepted is None
            else f"{newest[0].function} runs again as {accepted.id}"
        )
    finally:
        await ledger.close()
