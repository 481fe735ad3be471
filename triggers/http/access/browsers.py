"""What a browser may not do to an OnCue without keys, which trusts whoever is on this machine.

A page of any site can send requests to 127.0.0.1, and by DNS rebinding even under a name of its own. The headers that
pages cannot set give it away: Host names the site it thinks it talks to, Origin and Sec-Fetch-Site where it comes from.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from triggers.http.answers import ProblemError


def refuse_foreign_pages(headers: Mapping[bytes, bytes], own_hosts: frozenset[str], *, changes_something: bool) -> None:
    """Refuse a request under a foreign name, and one of a foreign page that would change something.

    Raises:
        ProblemError: 421 or 403.
    """
    host = headers.get(b"host", b"")
    if not _is_own(host, own_hosts):
        raise ProblemError(
            421,
            "unknown-host",
            f"this OnCue has no API keys and answers to names of this machine only, not to {_shown(host)}; "
            "make a key (oncue key new), or list the name in ONCUE_HOSTS",
        )
    if not changes_something:
        return
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site", b"none")
    if (origin is not None and not _is_origin_of(origin, host)) or site not in (b"none", b"same-origin"):
        raise ProblemError(
            403, "cross-origin", "pages of other sites may not send this; an OnCue without API keys takes none of theirs"
        )


@functools.lru_cache(maxsize=256)
def _is_own(host: bytes, own_hosts: frozenset[str]) -> bool:
    if not host:
        return True  # HTTP/1.0; no browser leaves it out
    try:
        name = urlsplit("//" + host.decode("latin-1")).hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in own_hosts:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _is_origin_of(origin: bytes, host: bytes) -> bool:
    scheme, separator, own = origin.partition(b"://")
    return bool(separator) and scheme in (b"http", b"https") and own.lower() == host.lower()


def _shown(host: bytes) -> str:
    return repr(host.decode("latin-1")[:100])
