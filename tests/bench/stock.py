"""The stock contestant: Dramatiq's RedisBroker with its Results middleware, behind Starlette.

`uvicorn stock:app` serves it and `dramatiq stock` works it, both with their own defaults.
"""

from __future__ import annotations

import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

broker = RedisBroker(url=os.environ["STOCK_REDIS_URL"])
backend = RedisBackend(url=os.environ["STOCK_REDIS_URL"])
broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True, max_retries=0)
def noop() -> None:
    """Do nothing."""


@dramatiq.actor(store_results=True, max_retries=0)
def started() -> float:
    """Return when the handler began, by the wall clock."""
    return time.time()


def invoke(request: Request) -> JSONResponse:
    """Enqueue a message; a plain `def`, so that Starlette runs it in a thread and the loop is not blocked."""
    message = {"noop": noop, "started": started}[request.path_params["name"]].send()
    return JSONResponse({"id": message.message_id}, status_code=202)


app = Starlette(routes=[Route("/{name}", invoke, methods=["POST"])])
