"""The web process: the HTTP edge on uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Iterator
from ipaddress import ip_network

import uvicorn
import uvloop

from infra.deploying import deployer
from infra.settings import Settings, SettingsError, secret
from runtime.authoring.quantities import read_rate
from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.store import ResultStore
from runtime.versions.deployer import Deployer
from runtime.versions.following import CatalogFollower
from triggers.http.access.guard import Policy
from triggers.http.access.keyring import KeyFollower, Keyring
from triggers.http.app import Edge, build
from triggers.http.callbacks.deliverer import Deliverer
from triggers.http.callbacks.sending import Sender
from triggers.http.callbacks.urls import Callbacks
from triggers.http.deployments import Deployments
from triggers.http.live import MAX_MESSAGE_BYTES
from triggers.http.protocol import GuardedProtocol

#: Seconds an unused connection is kept open.
KEEP_ALIVE_S = 60
#: Seconds that answers under way may take once the server stops; waits and streams end at once.
GRACE_S = 1

_BACKLOG = 2048


class WebServer(uvicorn.Server):
    """A uvicorn server of an edge, that ends the edge's waits before it waits for its connections."""

    def __init__(self, edge: Edge, *, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                edge,
                host=host,
                port=port,
                http=GuardedProtocol,
                ws="websockets-sansio",
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,
                lifespan="off",
                access_log=False,
                log_level="error",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
                backlog=_BACKLOG,
            )
        )
        self._edge = edge
        # uvicorn takes a WebSocket that is refused by an HTTP answer for a defect, and says so each time.
        logging.getLogger("uvicorn.error").addFilter(lambda record: "without completing handshake" not in str(record.msg))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own way raises the signal again once it has stopped, which would end the process before it has closed.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is alive now stays: the collector need not look at it again (p99 of an accept 15 -> 6 ms).
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._edge.close()
        await super().shutdown(sockets)


async def serve(settings: Settings) -> None:
    """Serve HTTP until SIGTERM or SIGINT.

    Raises:
        SettingsError: no Redis is configured, or the address is open to others and there is no API key.
    """
    url = settings.ledger_url
    refuse_open_door(settings, url)
    with deployer(settings) as deploys:
        await _serve(settings, deploys)


async def _serve(settings: Settings, deploys: Deployer) -> None:
    url = settings.ledger_url
    ledger = AsyncLedger(url, ResultStore(settings.store_url))
    keys = KeyFollower(url, ledger.reads)
    callbacks = Callbacks(tuple((secret("CALLBACKS") or "").split()), settings.callback_hosts)
    edge = build(
        ledger,
        secrets=secret,
        keys=lambda: keys.keys,
        policy=policy(settings),
        callbacks=callbacks,
        public_url=settings.public_url,
        deployments=Deployments(deploys, lambda: follower.refresh()),
    )
    deliverer = Deliverer(ledger, Sender(callbacks.secrets, callbacks.allowed))
    follower = CatalogFollower(url, edge.serve)
    await ledger.start()
    await keys.start()
    deliverer.start()
    await follower.start()
    try:
        await WebServer(edge, host=settings.host, port=settings.port).serve()
    finally:
        await deliverer.close()
        await follower.close()
        await keys.close()
        await edge.audit.close()
        await ledger.close()


def refuse_open_door(settings: Settings, url: str) -> None:
    """Refuse to serve an address that others can reach while there is no API key.

    Raises:
        SettingsError: saying how to make one.
        LedgerUnavailableError: whether there is one cannot be read.
    """
    if settings.is_loopback:
        return
    keyring = Keyring(url)
    try:
        if not keyring.all():
            raise SettingsError(
                f"ONCUE_HOST={settings.host} would open OnCue to the network, and there is no API key to guard it; "
                "make one first: oncue key new NAME --scope invoke:* --scope read, or use 127.0.0.1"
            )
    finally:
        keyring.close()


def policy(settings: Settings) -> Policy:
    """Return how the settings want the door kept."""
    return Policy(
        is_loopback=settings.is_loopback,
        hosts=frozenset(host.lower() for host in settings.hosts),
        proxies=tuple(ip_network(each) for each in settings.proxies),
        rate=read_rate(settings.rate_limit),
        failures=read_rate(settings.failure_limit),
    )


def main(settings: Settings) -> None:
    """Run the web process of this host until it is told to stop. Raises as `serve`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
