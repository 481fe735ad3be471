"""The edge as one ASGI application: every request passes `Edge.__call__`, and every error leaves it as a problem document.

POST /v1/functions/{name}    invoking.py   the hot path, plain ASGI
/v1/…, /healthz, /readyz     Starlette's router: functions.py, invocations.py, streams.py, events.py, operating.py
/v1/invocations/{id}/live    live.py       a WebSocket
anything else                hooks.py      the routes that functions declare
"""

from __future__ import annotations

import structlog
from starlette.exceptions import HTTPException
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from runtime.authoring.routes import RESERVED_PATHS
from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.wire import LedgerUnavailableError
from runtime.versions.catalog import Catalog
from triggers.http.access.audit import Audit, AuditTrail
from triggers.http.access.guard import Guard, Keys, Policy, scope_of
from triggers.http.answers import Answer, ProblemError, method_not_allowed
from triggers.http.callbacks.urls import Callbacks
from triggers.http.deployments import Deployments
from triggers.http.events import EventDesk
from triggers.http.exchange import EXCHANGE, ClientGoneError, Exchange
from triggers.http.functions import Functions
from triggers.http.hooks import Hooks, Secrets
from triggers.http.invocations import Invocations
from triggers.http.invoking import Invoker, unknown_function
from triggers.http.live import Live, denial
from triggers.http.metrics import Metrics
from triggers.http.openapi.pages import Pages
from triggers.http.operating import Operating
from triggers.http.schedules import Timetable
from triggers.http.served import Served
from triggers.http.streams import Streams
from triggers.http.waiting import Waits

_FUNCTIONS = "/v1/functions/"
_RESERVED = tuple(path + "/" for path in RESERVED_PATHS)


def build(
    ledger: AsyncLedger,
    *,
    secrets: Secrets = lambda _: None,
    keys: Keys = dict,
    policy: Policy | None = None,
    callbacks: Callbacks | None = None,
    public_url: str | None = None,
    deployments: Deployments | None = None,
) -> Edge:
    """Return the application. It serves nothing until `Edge.serve` has been given a catalog.

    `secrets` gives the value of a secret by its name, for signatures; None when there is none. `keys` gives the API keys.
    `public_url` is where senders reach this host, for schemes that sign it. `deployments` serves /v1/deployments.
    """
    return Edge(ledger, secrets, keys, policy or Policy(), callbacks or Callbacks(), public_url, deployments)


class Edge:
    """The ASGI application; belongs to one event loop."""

    def __init__(
        self,
        ledger: AsyncLedger,
        secrets: Secrets,
        keys: Keys,
        policy: Policy,
        callbacks: Callbacks,
        public_url: str | None,
        deployments: Deployments | None,
    ) -> None:
        self._guard = Guard(ledger.reads, keys, policy)
        self.audit = Audit(ledger.reads)
        self._metrics = Metrics(ledger)
        self._waits = Waits(ledger)
        self._served: Served | None = None
        self._invoker = Invoker(ledger, self._waits, callbacks)
        self._hooks = Hooks(ledger, self._waits, secrets, self._guard, callbacks, public_url)
        self._live = Live(ledger, self._waits)
        functions = Functions(ledger, lambda: self._served)
        rooms = (
            functions,
            Invocations(ledger, self._waits),
            Streams(ledger, self._waits),
            EventDesk(ledger, self._ready),
            Operating(ledger, self._ready),
            Timetable(ledger, self._ready),
            AuditTrail(ledger),
            self._metrics,
            Pages(self._ready, lambda: self.routes),
            *((deployments,) if deployments is not None else ()),
        )
        #: every route but those that functions declare
        self.routes: list[Route] = [route for room in rooms for route in room.routes()]
        self._patterns = {route.endpoint: route.path for route in self.routes}
        self._router = Router(self.routes, redirect_slashes=False)
        self._log = structlog.get_logger("oncue.http")

    def serve(self, catalog: Catalog) -> None:
        """Serve this catalog from the next request on."""
        self._served = Served.of(catalog, self._served)

    def close(self) -> None:
        """End all waits and streams, because the server stops."""
        self._waits.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_live = scope["type"] == "websocket"
        if is_live:
            scope, send_frame, send = {**scope, "method": "GET"}, send, denial(send)
        exchange = Exchange(scope, receive, send)
        try:
            answer = await (self._serve_live(exchange, send_frame) if is_live else self._answer(exchange))
            if answer is not None:
                await answer(scope, receive, exchange.send)
        except ClientGoneError:
            return
        except Exception as error:
            problem = await self._guard.refused(exchange, self._problem(exchange, error))
            if exchange.has_answered:
                raise  # too late to say anything: the server closes the connection, and the caller sees it cut
            answer = problem.answer(exchange.path, exchange.request_id.decode())
            await answer(scope, receive, exchange.send)
        finally:
            self.audit.note(exchange)
            if exchange.status:
                self._metrics.observe(exchange.method, self._pattern(exchange), exchange.status, exchange.latency_s)

    async def _answer(self, exchange: Exchange) -> Answer | None:
        """Return the answer, or None when Starlette has sent it."""
        if exchange.fault is not None:
            raise exchange.fault
        path = exchange.path
        if path.startswith(_FUNCTIONS) and exchange.method == "POST":
            name = path[len(_FUNCTIONS) :]
            await self._guard.admit(exchange, f"invoke:{name}", name)
            served = self._ready()
            target = served.targets.get(name)
            if target is None:
                raise unknown_function(name, served.targets)
            return await self._invoker.serve(exchange, target)
        if path.startswith(_RESERVED) or path in RESERVED_PATHS:
            await self._guard.admit(exchange, scope_of(exchange.method, path))
            exchange.scope[EXCHANGE] = exchange
            exchange.scope["app"] = self  # makes Starlette raise its 404 and 405 instead of answering them
            await self._router(exchange.scope, exchange.receive, exchange.send)
            return None
        return await self._hooks.serve(exchange, self._ready().routes)

    async def _serve_live(self, exchange: Exchange, send: Send) -> None:
        if exchange.fault is not None:
            raise exchange.fault
        await self._guard.admit(exchange, "read")
        await self._live.serve(exchange, exchange.receive, send)

    def _pattern(self, exchange: Exchange) -> str:
        """Return the route a request fits, as declared: paths have too many values to count by."""
        if exchange.path.startswith(_FUNCTIONS) and exchange.method == "POST":
            return _FUNCTIONS + "{name}"
        endpoint = exchange.scope.get("endpoint")
        if endpoint is not None:
            return self._patterns.get(endpoint, "")
        return exchange.route if not exchange.path.startswith(_RESERVED) and exchange.route else "unmatched"

    def _ready(self) -> Served:
        if self._served is None:
            raise LedgerUnavailableError("what is deployed has not been read yet")
        return self._served

    def _problem(self, exchange: Exchange, error: Exception) -> ProblemError:
        if isinstance(error, ProblemError):
            return error
        if isinstance(error, LedgerUnavailableError):
            return ProblemError(
                503, "ledger-unavailable", f"nothing was accepted: {error}; try again", headers=[(b"retry-after", b"1")]
            )
        if isinstance(error, HTTPException) and error.status_code == 405:
            return method_not_allowed("this path", (error.headers or {}).get("Allow", "GET").split(", "))
        if isinstance(error, HTTPException):
            return ProblemError(error.status_code, "not-found", "nothing is served at this path")
        self._log.error(
            "a request failed",
            request_id=exchange.request_id.decode(),
            method=exchange.method,
            path=exchange.path,
            exc_info=error,
        )
        return ProblemError(500, "internal-error", "the request failed by a defect of the server; the log has it by request_id")
