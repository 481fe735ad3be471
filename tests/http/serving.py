"""What the tests of the edge share: the edge on a real uvicorn, and a small worker that finishes what was accepted."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
import uvloop

from runtime.authoring.manifest import FunctionManifest, Manifest
from runtime.authoring.options import FunctionOptions
from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import QueueKeys, queue_of
from runtime.ledger.ledger import Ledger
from runtime.ledger.records import Claim, ResultInfo, Verdict
from runtime.ledger.store import ResultStore
from runtime.versions.catalog import Deployed
from runtime.versions.following import CatalogFollower
from runtime.versions.registry import Registry
from triggers.http.access.guard import Policy
from triggers.http.access.keyring import KeyFollower
from triggers.http.app import Edge, build
from triggers.http.callbacks.deliverer import Deliverer
from triggers.http.callbacks.sending import Sender
from triggers.http.callbacks.urls import Callbacks
from triggers.http.live import MAX_MESSAGE_BYTES
from triggers.http.protocol import GuardedProtocol


class ImpatientProtocol(GuardedProtocol):
    """Deadlines short enough for a test."""

    headers_s = 0.5
    body_s = 1.0
    unread_s = 1.0


def function(
    name: str, properties: dict[str, Any] | None = None, *, required: tuple[str, ...] = (), **more: Any
) -> FunctionManifest:
    """A function as an inspection describes it; `more` are further fields of its manifest."""
    schema = {"type": "object", "properties": properties or {}, "required": list(required)}
    options = FunctionOptions(**more.pop("options", {}))
    return FunctionManifest(name=name, file="__init__.py", line=1, options=options, **{"input_schema": schema, **more})


class Worker:
    """Claims and finishes invocations through the real ledger."""

    def __init__(self, url: str) -> None:
        self.ledger = Ledger(url)

    def claim(self, queue: str = "default") -> Claim:
        """Wait for the next invocation and claim it."""
        self.ledger.declare(queue)
        for _ in range(20):
            delivered = self.ledger.deliveries(queue, "tests", count=1, block_s=0.5)
            if delivered and (claims := self.ledger.claim(queue, "tests", delivered)):
                return claims[0]
        pytest.fail("nothing was accepted within 10 s")

    def waiting(self, queue: str = "default") -> int:
        """How many entries the queue has."""
        (count,) = self.ledger._wire.send(("XLEN", QueueKeys(queue).stream))
        return int(count)

    def succeed(self, claim: Claim, body: bytes = b"null", media_type: str = "application/json", **more: Any) -> None:
        """Finish a claim with a result."""
        info = {"media_type": media_type, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        place = more.pop("place", "redis")
        result = ResultInfo(**info, filename=more.pop("filename", None), place=place)
        self._finish(
            claim, outcome="succeeded", body=body if place == "redis" else b"", result=msgspec.json.encode(result), **more
        )

    def fail(self, claim: Claim, outcome: str = "failed", output: Sequence[bytes] = (), **error: Any) -> None:
        """Finish a claim without a result."""
        self._finish(
            claim,
            outcome=outcome,
            output=list(output),
            error=msgspec.json.encode({"kind": "raised", "type": "ValueError", "message": "no", **error}),
        )

    def _finish(self, claim: Claim, **verdict: Any) -> None:
        attempt = msgspec.json.encode({"outcome": verdict["outcome"], "duration_ms": 1.5})
        assert self.ledger.finish(claim.queue, [Verdict(claim=claim, attempt=attempt, **verdict)]) == [verdict["outcome"]]


class Web:
    """An edge under test: where it is, and how to deploy to it."""

    def __init__(
        self,
        redis_url: str,
        folder: Path,
        protocol: type[GuardedProtocol],
        secrets: dict[str, str],
        policy: Policy | None,
        callbacks: tuple[tuple[str, ...], tuple[str, ...]],
    ) -> None:
        self.redis_url = redis_url
        self.secrets = secrets
        self.policy = policy
        self._callbacks = Callbacks(*callbacks)
        self.folder = folder
        self._protocol = protocol
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)
        self.worker = Worker(redis_url)
        self._registry = Registry(redis_url)
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()), daemon=True)
        self._ready = threading.Event()
        self.edge: Edge
        self._versions = 0

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self.client.close()
        self.close_edge()
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.worker.ledger.close()
        self._registry.close()

    def close_edge(self) -> None:
        """Tell the edge that its server stops."""
        self._loop.call_soon_threadsafe(self.edge.close)

    def deploy(self, *functions: FunctionManifest, folder: str = "tests") -> str:
        """Deploy functions, and return their version once the edge serves it."""
        self._versions += 1
        version = f"{folder}-{self._versions}"
        manifest = Manifest(folder=folder, python="3.11", functions=functions)
        self._registry.switch(Deployed(folder, version, manifest, 0))
        for _ in range(500):
            served = self.edge._served
            deployed = served.catalog.folders.get(folder) if served else None
            if deployed is not None and deployed.version == version:
                return version
            threading.Event().wait(0.01)
        pytest.fail("the edge has not followed the registry within 5 s")

    def waiting_callbacks(self) -> int:
        """How many ends are still to be told."""
        (count,) = self.worker.ledger._wire.send(("ZCARD", QueueKeys("default").callbacks))
        return int(count)

    def connections(self) -> int:
        """How many connections it holds."""
        return len(self._server.server_state.connections)

    def bells(self) -> int:
        """How many wait for news of an invocation."""
        return sum(len(bells) for name, bells in self.ledger.news._bells.items() if queue_of(name))

    def ring_bells(self) -> None:
        """Wake all who wait, as a lost and regained subscription does."""
        self._loop.call_soon_threadsafe(self.ledger.news._ring_all)

    def connect(self) -> socket.socket:
        """A raw connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ledger = ledger = AsyncLedger(self.redis_url, ResultStore(f"file://{self.folder}"))
        self.keys = keys = KeyFollower(self.redis_url, ledger.reads)
        self.edge = build(
            ledger,
            secrets=self.secrets.get,
            keys=lambda: keys.keys,
            policy=self.policy,
            callbacks=self._callbacks,
        )
        sender = Sender(self._callbacks.secrets, self._callbacks.allowed)
        deliverer = Deliverer(ledger, sender, delays_s=(0.1, 0.1, 0.1))
        deliverer.start()
        follower = CatalogFollower(self.redis_url, self.edge.serve)
        await ledger.start()
        await keys.start()
        await follower.start()
        config = uvicorn.Config(
            self.edge,
            http=self._protocol,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            lifespan="off",
            log_level="critical",
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._loop.call_later(0.01, self._ready.set)
        await self._server.serve(sockets=[self._socket])
        await deliverer.close()
        await follower.close()
        await keys.close()
        await self.edge.audit.close()
        await ledger.close()


def event_of(claim: Claim) -> dict[str, Any]:
    """The event's document as a child would get it."""
    document: dict[str, Any] = json.loads(claim.event)
    return document


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that a response is this problem, complete; return its document."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), response.text
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert problem["type"] == f"urn:oncue:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem
