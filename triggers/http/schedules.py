"""`/v1/schedules`: what fires when, what was missed; fire one now, pause it, let it go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from runtime.ledger.async_ledger import AsyncLedger
from triggers.cron.schedules import Schedules, UnknownScheduleError
from triggers.http.answers import Answer, ProblemError, json_answer
from triggers.http.documents import links, location
from triggers.http.served import Served


class Timetable:
    """The endpoints of schedules."""

    def __init__(self, ledger: AsyncLedger, served: Callable[[], Served]) -> None:
        self._schedules = Schedules(ledger.reads, lambda: served().catalog)

    def routes(self) -> list[Route]:
        """Return their routes."""
        return [
            Route("/v1/schedules", self.all, methods=["GET"]),
            Route("/v1/schedules/{id}", self.one, methods=["GET"]),
            Route("/v1/schedules/{id}/fire", self.fire, methods=["POST"]),
            Route("/v1/schedules/{id}/pause", self.pause, methods=["POST"]),
            Route("/v1/schedules/{id}/resume", self.resume, methods=["POST"]),
        ]

    async def all(self, request: Request) -> Answer:
        """Answer every schedule with its next fires."""
        return json_answer(200, {"schedules": await self._schedules.list()})

    async def one(self, request: Request) -> Answer:
        """Answer one schedule with its whole history."""
        return json_answer(200, await _found(self._schedules.get(request.path_params["id"])))

    async def fire(self, request: Request) -> Answer:
        """Run a schedule's function now."""
        invocation_id = await _found(self._schedules.fire(request.path_params["id"]))
        place = (b"location", location(invocation_id).encode())
        return json_answer(202, {"id": invocation_id, "status": "queued", "links": links(invocation_id)}, [place])

    async def pause(self, request: Request) -> Answer:
        """Fire nothing until the schedule is resumed."""
        return json_answer(200, await _found(self._schedules.pause(request.path_params["id"])))

    async def resume(self, request: Request) -> Answer:
        """Go on with the next slot."""
        return json_answer(200, await _found(self._schedules.resume(request.path_params["id"])))


async def _found(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except UnknownScheduleError as error:
        raise ProblemError(404, "unknown-schedule", str(error)) from error
