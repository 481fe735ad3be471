"""Which addresses a callback may reach: public ones, and what the operator lists.

`is_global` alone is not enough: an IPv6 address may carry an IPv4 one inside, which a gateway on the way unpacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

#: Prefixes whose addresses carry an IPv4 address in their last 32 bits: NAT64 (RFC 6052; RFC 8215, its /96 form),
#: IPv4-compatible addresses (RFC 4291, section 2.5.5.1) and IPv4-translated ones (RFC 2765, section 2.1).
_CARRIERS = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))


def is_public(address: Address) -> bool:
    """Tell whether an address, and whatever address is inside it, is one of the public Internet."""
    return all(_is_global(each) for each in _unwrapped(address))


def _is_global(address: Address) -> bool:
    is_site_local = isinstance(address, IPv6Address) and address.is_site_local  # fec0::/10, which `is_global` takes for public
    return address.is_global and not (address.is_multicast or address.is_reserved or is_site_local)


class AllowList:
    """Host names, addresses and networks that the operator lists: "hooks.internal", "10.1.0.0/16"."""

    def __init__(self, words: tuple[str, ...] = ()) -> None:
        self._networks = []
        self._hosts = set()
        for word in words:
            try:
                self._networks.append(ip_network(word))
            except ValueError:
                self._hosts.add(word.lower().rstrip("."))

    def takes(self, host: str, address: Address) -> bool:
        """Tell whether a callback to `host`, which is at `address`, may be sent."""
        if host.lower().rstrip(".") in self._hosts:
            return True
        if any(address.version == network.version and address in network for network in self._networks):
            return True
        return is_public(address)


def literal(host: str) -> Address | None:
    """Return the address that a host name is, also in the spellings of inet_aton: "127.1", "0x7f000001"; None for a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        parts = host.split(".")
        if not host or len(parts) > 4 or not all(_number(part) is not None for part in parts):
            return None
    numbers = [_number(part) or 0 for part in parts]
    whole = numbers[-1]
    for index, number in enumerate(numbers[:-1]):
        whole += number << 8 * (3 - index)
    return IPv4Address(whole) if whole < 2**32 else IPv4Address(0)


def _number(part: str) -> int | None:
    try:
        return int(part, 16 if part[:2].lower() == "0x" else 8 if part[:1] == "0" and part != "0" else 10)
    except ValueError:
        return None


def _unwrapped(address: Address) -> Iterator[Address]:
    if isinstance(address, IPv4Address):
        yield address
        return
    inside: IPv4Address | None = address.ipv4_mapped or address.sixtofour
    if inside is None and address.teredo is not None:
        inside = address.teredo[1]
    if inside is None and any(address in carrier for carrier in _CARRIERS):
        inside = IPv4Address(int(address) & 0xFFFFFFFF)
    if inside is not None:
        yield inside
    if address.ipv4_mapped is None and address not in _CARRIERS[0]:
        yield address
