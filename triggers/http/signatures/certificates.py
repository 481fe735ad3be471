"""Fetches what Amazon SNS refers to: its signing certificates, and the links that confirm a subscription.

Both URLs come in a request that is not verified yet, so only Amazon's own hosts are asked, over TLS, at public addresses,
without redirects, within bounds of time and size; and certificates are kept.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import OrderedDict
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from triggers.http.answers import ProblemError
from triggers.http.callbacks.addresses import is_public
from triggers.http.signatures.scheme import RefusedError

#: Seconds a fetch may take, and bytes it may bring.
TIMEOUT_S = 5.0
MAX_BYTES = 64 * 1024
#: Certificates kept, and fetches under way at once.
MAX_KEPT = 64
MAX_FETCHES = 4

#: A region's own host. Amazon's validators take any label, which would let in "sns.s3-us-west-2", anybody's bucket.
_HOST = re.compile(r"sns\.[a-z]{2,10}(-[a-z]+){1,3}-[0-9]{1,2}\.amazonaws\.com(\.cn)?")


def check_url(url: object, *, ends_with: str = "") -> str:
    """Return a URL of Amazon SNS.

    Raises:
        RefusedError: it is none.
    """
    text = url if isinstance(url, str) and url.isascii() and url.isprintable() else ""
    try:
        parts = urlsplit(text)
        is_ours = parts.scheme == "https" and parts.path.endswith(ends_with) and parts.port in (None, 443)
    except ValueError:
        is_ours = False
    host = text.removeprefix("https://").partition("/")[0].removesuffix(":443")
    # The text itself, too: what a parser takes for the host and what a connection is made to must be one thing.
    if not is_ours or not _HOST.fullmatch(host) or parts.hostname != host or "\\" in text or "#" in text:
        raise RefusedError("signature-invalid", "the message refers to a host that is not Amazon SNS")
    return text


class Certificates:
    """Amazon's public keys by the URL of their certificate. `transport`: how requests travel; None connects for itself."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._keys: OrderedDict[str, RSAPublicKey] = OrderedDict()
        self._turn = asyncio.Semaphore(MAX_FETCHES)

    async def key(self, url: object) -> RSAPublicKey:
        """Return the key of a certificate.

        Raises:
            RefusedError: the URL is not Amazon's, or leads to no RSA certificate.
            ProblemError: 503: it cannot be fetched now.
        """
        place = check_url(url, ends_with=".pem")
        key = self._keys.get(place)
        if key is None:
            try:
                found = x509.load_pem_x509_certificate(await self._get(place)).public_key()
            except ValueError:
                found = None
            if not isinstance(found, RSAPublicKey):
                raise RefusedError("signature-invalid", "the message refers to a certificate that is none")
            key = self._keys[place] = found
            if len(self._keys) > MAX_KEPT:
                self._keys.popitem(last=False)
        return key

    async def confirm(self, url: object) -> None:
        """Open the link that confirms a subscription; raises as `key`."""
        await self._get(check_url(url))

    async def _get(self, url: str) -> bytes:
        try:
            async with self._turn, asyncio.timeout(TIMEOUT_S):
                transport = self._transport or await _pinned(urlsplit(url).hostname or "")
                async with (
                    httpx.AsyncClient(transport=transport, trust_env=False) as client,
                    client.stream("GET", url, follow_redirects=False) as response,
                ):
                    response.raise_for_status()
                    body = b""
                    async for part in response.aiter_bytes():
                        body += part
                        if len(body) > MAX_BYTES:
                            raise httpx.DecodingError("too long")
                    return body
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise ProblemError(
                503,
                "verification-unavailable",
                f"Amazon's certificate or confirmation cannot be fetched now ({type(error).__name__})",
                headers=[(b"retry-after", b"60")],
            ) from error


class _Pinned(httpx.AsyncHTTPTransport):
    """Connects to one address, whatever the name says by then; TLS still checks the name."""

    def __init__(self, address: str) -> None:
        super().__init__(trust_env=False)
        self._address = address

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host=self._address)
        return await super().handle_async_request(request)


async def _pinned(host: str) -> _Pinned:
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    addresses = [str(place[0]) for *_, place in found]
    if not addresses or not all(is_public(ip_address(address)) for address in addresses):
        raise OSError(f"{host} has an address that is not public")
    return _Pinned(addresses[0])
