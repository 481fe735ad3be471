"""Sends one callback: signed, to an address that was looked at, without following anything.

POST /path HTTP/1.1
webhook-id: default-01j…
webhook-timestamp: 1738314000
webhook-signature: v1,<base64 HMAC-SHA256 of "id.timestamp.body">

{"type": "invocation.succeeded", "timestamp": "2026-01-31T09:00:00.000Z", "data": {…the status document…}}
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import random
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpcore

from runtime.authoring.errors import OnCueError
from triggers.http.callbacks.addresses import AllowList

#: Seconds one try may take as a whole, and bytes of the answer that are read.
TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 64 * 1024


class CallbackError(OnCueError):
    """A try has failed; the next one may not. `answer`: the status it was answered with, if it was."""

    def __init__(self, reason: str, *, answer: int | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


class Sender:
    """Sends callbacks; belongs to one event loop. `secrets`: what signs, all of them (for rotation)."""

    def __init__(self, secrets: Sequence[str], allowed: AllowList) -> None:
        self._keys = [_signing_key(secret) for secret in secrets]
        self._backend = _PinnedBackend(allowed)
        self._context = ssl.create_default_context()

    async def send(self, url: str, identity: str, body: bytes) -> int:
        """POST a body; return the status of the answer.

        Raises:
            CallbackError: it could not be sent, or the answer took too long or was too large.
        """
        parts = urlsplit(url)
        now = str(int(time.time()))
        headers = {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "User-Agent": "OnCue",
            "Connection": "close",
            "webhook-id": identity,
            "webhook-timestamp": now,
            "webhook-signature": " ".join(_signature(key, identity, now, body) for key in self._keys),
        }
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._pool() as pool,
                pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
            ):
                size = 0
                async for part in response.aiter_stream():
                    size += len(part)
                    if size > MAX_ANSWER_BYTES:
                        raise CallbackError(f"the answer exceeds {MAX_ANSWER_BYTES:,} bytes")
                return response.status
        except TimeoutError as error:
            raise CallbackError(f"it took longer than {TIMEOUT_S:g} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise CallbackError(f"it could not be sent: {error or type(error).__name__}") from error

    def _pool(self) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(ssl_context=self._context, network_backend=self._backend, max_connections=1)


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the very address that was looked at, so that a name cannot change its mind in between."""

    def __init__(self, allowed: AllowList) -> None:
        self._allowed = allowed
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
        for address in addresses:
            if not self._allowed.takes(host, ip_address(address)):
                # One bad address is enough: a name with a good and a bad one is a trick.
                raise httpcore.ConnectError(f"{host} has an address that is not public")
        return await self._backend.connect_tcp(random.choice(addresses), port, timeout)  # noqa: S311  # spreads load, no secret


def _signing_key(secret: str) -> bytes:
    """Read "whsec_<base64>", as Standard Webhooks writes secrets; any other text is the key itself."""
    if secret.startswith("whsec_"):
        return base64.b64decode(secret.removeprefix("whsec_") + "===")
    return secret.encode()


def _signature(key: bytes, identity: str, timestamp: str, body: bytes) -> str:
    signed = f"{identity}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
