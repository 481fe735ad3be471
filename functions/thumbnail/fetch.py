"""Fetches a URL that a stranger chose, without letting it reach anything private (server-side request forgery).

The name is resolved once, every address is judged, and the connection goes to one of exactly these: a name that
resolves differently a moment later gains nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

from runtime import GiveUp, Retry

#: seconds for everything: connect, TLS, headers and body
DEADLINE_S = 10.0

#: Not public, though `ipaddress` calls them global or does not know them: shared and protocol ranges, anycast relays,
#: a cloud's own host (168.63.129.16), documentation (RFC 9637).
REFUSED = [
    ipaddress.ip_network(block)
    for block in ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20")
]
NAT64 = ipaddress.ip_network("64:ff9b::/96")
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_SAFE = "/%:@!$&'()*+,;=~?"


def fetch(url: str, *, max_bytes: int, allowed_hosts: frozenset[str] = frozenset()) -> bytes:
    """Return the body at an http or https URL.

    `allowed_hosts`: names, or "name:port", that may lead to private addresses.

    Raises:
        GiveUp: the URL is unfit, leads somewhere private or elsewhere, or what it leads to is gone or too large.
        Retry: the host does not answer as it should now.
    """
    scheme, host, port, authority, target = _read(url)
    addresses = _resolve(host, port)
    if not {host, f"{host}:{port}"} & allowed_hosts and not all(map(is_public, addresses)):
        raise GiveUp(f"{host!r} leads to a private address; send a URL that is reachable from the internet")
    ends = time.monotonic() + DEADLINE_S
    headers = {"Host": authority, "Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "OnCue"}
    try:
        with _connect(addresses, port, scheme, host, ends) as sock, _cut_at(ends, sock):
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            connection = http.client.HTTPConnection(host, port)
            connection.sock = sock
            connection.request("GET", target, headers=headers)
            body = _body(connection.getresponse(), url, max_bytes)
        if time.monotonic() >= ends:  # a body that was cut looks whole when it has no Content-Length
            raise TimeoutError(f"it took longer than {DEADLINE_S:g} s")
        return body
    except ssl.SSLCertVerificationError as error:
        raise GiveUp(f"the certificate of {host!r} is not valid ({error.verify_message}); mend it or send the bytes") from error
    except (OSError, http.client.HTTPException) as error:
        raise Retry(f"{host!r} did not answer as it should: {error!r}") from error


def is_public(address: str) -> bool:
    """Tell whether an address is reachable from the internet, looking into the IPv4 one that an IPv6 one may wrap."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
        if ip not in GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in block for block in REFUSED)


def _read(url: str) -> tuple[str, str, int, str, str]:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    except ValueError as error:
        raise GiveUp(f"{url[:200]!r} is no URL ({error}); send one like 'https://example.com/photo.jpg'") from error
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise GiveUp(f"{url[:200]!r} cannot be fetched; send an http or https URL with a host and no user name")
    authority = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80), authority, target


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        unknown = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
        raise (GiveUp if unknown else Retry)(f"the host {host!r} cannot be resolved: {error}") from error
    return [str(address[0]).partition("%")[0] for *_, address in found]


def _connect(addresses: list[str], port: int, scheme: str, host: str, ends: float) -> socket.socket:
    problem: OSError = OSError("no address")
    for address in addresses:
        try:
            sock = socket.create_connection((address, port), timeout=max(ends - time.monotonic(), 0.1))
        except OSError as error:
            problem = error
            continue
        if scheme == "https":
            return ssl.create_default_context().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        return sock
    raise problem


@contextlib.contextmanager
def _cut_at(ends: float, sock: socket.socket) -> Iterator[None]:
    """Shut the socket at a moment, whatever is going on: a timeout of its own only bounds each single wait."""

    # Not `sock.shutdown`: an SSLSocket's own would drop its TLS state under the reader's feet.
    def cut() -> None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(ends - time.monotonic(), cut)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _body(response: http.client.HTTPResponse, url: str, max_bytes: int) -> bytes:
    if response.status in (408, 425, 429) or response.status >= 500:
        raise Retry(f"{url[:200]!r} answered {response.status}")
    if 300 <= response.status < 400:
        place = response.getheader("Location", "")[:200]
        raise GiveUp(f"{url[:200]!r} redirects to {place!r}; send the URL of the image itself")
    if response.status != 200:
        raise GiveUp(f"{url[:200]!r} answered {response.status}; send a URL that answers 200 without signing in")
    if (response.length or 0) > max_bytes or len(body := response.read(max_bytes + 1)) > max_bytes:
        raise GiveUp(f"{url[:200]!r} has more than {max_bytes:,} bytes; send a smaller image")
    return body
