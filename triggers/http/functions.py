"""`/v1/functions`: what is deployed, how it is called, and how it has been doing; `/healthz` and `/readyz`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.wire import LedgerUnavailableError
from triggers.http.answers import Answer, ProblemError, json_answer
from triggers.http.invoking import unknown_function
from triggers.http.served import Served
from triggers.http.targets import Target
from triggers.queues.status import statuses

#: Seconds Redis may take to answer a readiness probe.
PROBE_TIMEOUT_S = 2.0

_OUTCOMES = ("succeeded", "retrying", "failed", "cancelled")


class Functions:
    """The endpoints that describe functions and this process."""

    def __init__(self, ledger: AsyncLedger, served: Callable[[], Served | None]) -> None:
        self._ledger = ledger
        self._served = served

    def routes(self) -> list[Route]:
        """Return their routes. The POST of a function is served before routing (app.py); it is named here for 405."""
        return [
            Route("/v1/functions", self.all, methods=["GET"]),
            Route("/v1/functions/{name}", self.one, methods=["GET", "POST"]),
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
        ]

    async def all(self, request: Request) -> Answer:
        """Answer every function, and the folders that cannot serve."""
        served, counts = self._now(), await self._ledger.counts()
        return json_answer(
            200,
            {
                "functions": [_document(target, counts) for target in served.targets.values()],
                "quarantined": [problem.model_dump() for problem in served.catalog.problems],
            },
        )

    async def one(self, request: Request) -> Answer:
        """Answer one function."""
        served, name = self._now(), request.path_params["name"]
        if name not in served.targets:
            raise unknown_function(name, served.targets)
        return json_answer(200, _document(served.targets[name], await self._ledger.counts()))

    async def healthz(self, request: Request) -> Answer:
        """Answer that this process lives."""
        return json_answer(200, {"status": "ok"})

    async def readyz(self, request: Request) -> Answer:
        """Answer whether requests can be accepted: Redis answers, and the functions are known.

        Queue sources that do not run are named; they keep no request from being accepted.
        """
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                sources = await statuses(self._ledger.reads)
        except LedgerUnavailableError as error:
            raise _not_ready(str(error)) from error
        except TimeoutError:
            raise _not_ready(f"Redis has not answered within {PROBE_TIMEOUT_S:g} s") from None
        self._now()
        troubled = [
            {"source": each.source, "function": each.function, "state": each.state, "reason": each.reason}
            for each in sources
            if each.state != "running"
        ]
        return json_answer(200, {"status": "ready", "sources": troubled})

    def _now(self) -> Served:
        served = self._served()
        if served is None:
            raise _not_ready("what is deployed has not been read yet")
        return served


def _not_ready(reason: str) -> ProblemError:
    return ProblemError(503, "not-ready", reason, headers=[(b"retry-after", b"1")])


def _document(target: Target, counts: dict[str, dict[str, int]]) -> dict[str, Any]:
    manifest, function = target.manifest, target.function
    own = counts.get(target.name, {})
    return {
        "name": target.name,
        "summary": manifest.summary,
        "description": manifest.description,
        "folder": function.folder,
        "version": function.version,
        "triggers": [trigger.model_dump(mode="json", exclude_none=True) for trigger in manifest.triggers],
        "options": manifest.options.model_dump(mode="json"),
        "input_schema": manifest.input_schema,
        "output_schema": manifest.output_schema,
        "blob_parameter": manifest.blob_parameter,
        "url": f"/v1/functions/{target.name}",
        "health": {outcome: own.get(outcome, 0) for outcome in _OUTCOMES},
    }
