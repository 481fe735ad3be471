"""Who calls: the holder of a key, or an address."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Network = IPv4Network | IPv6Network


class Caller(NamedTuple):
    """Who sent a request."""

    #: the name of its key; empty: nobody in particular
    name: str
    key_id: str
    #: where it came from; an IPv6 caller is its /64, since it has all of that
    address: str


def address_of(client: str, forwarded_for: bytes | None, proxies: Sequence[Network]) -> str:
    """Return the caller's address: the peer's, or the last one in X-Forwarded-For that no listed proxy has."""
    if not proxies or forwarded_for is None:
        return _group(client)
    for hop in [client, *reversed(forwarded_for.decode("latin-1").split(","))]:
        address = _group(hop.strip())
        if not _is_among(hop.strip(), tuple(proxies)):
            return address
    return _group(client)


@functools.lru_cache(maxsize=4096)
def _group(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return "unknown"  # a peer on a Unix socket, or a header that is no address
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address, 64), strict=False))
    return text


@functools.lru_cache(maxsize=4096)
def _is_among(text: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address.version == network.version and address in network for network in networks)
