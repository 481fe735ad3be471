"""The door: every request to a reserved or declared path is let in here, or refused.

open (no key exists, and the address is loopback)   whoever is on this machine, but no foreign web page
else                                                a live key with the scope, within its rate
a declared route with a signature                   whoever the signature says, within its address's rate
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runtime.authoring.quantities import Rate
from runtime.authoring.triggers import HttpTrigger
from runtime.ledger.reads import Reads
from runtime.ledger.wire import LedgerUnavailableError
from triggers.http.access.api_keys import ApiKey, find
from triggers.http.access.browsers import refuse_foreign_pages
from triggers.http.access.callers import Caller, Network, address_of
from triggers.http.access.limits import Limiter
from triggers.http.answers import ProblemError
from triggers.http.exchange import Exchange

_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
#: Served to whoever asks: probes, and the page that describes the API, which holds no facts of its own.
_OPEN = frozenset(("/healthz", "/readyz", "/docs"))


@dataclass(frozen=True, slots=True)
class Policy:
    """How the door is kept."""

    #: whether only this machine can reach it, so that it may stand open while there is no key
    is_loopback: bool = True
    #: further names under which browsers may ask while it stands open
    hosts: frozenset[str] = frozenset()
    #: whose X-Forwarded-For is believed
    proxies: tuple[Network, ...] = ()
    #: of each caller and function
    rate: Rate | None = field(default=Rate(1000, 1))
    #: of each address, for requests that could not be authenticated
    failures: Rate | None = field(default=Rate(20, 60))


#: The keys by id; None while they have not been read.
Keys = Callable[[], Mapping[str, ApiKey] | None]


class Guard:
    """Lets requests in; belongs to one event loop."""

    def __init__(self, reads: Reads, keys: Keys, policy: Policy) -> None:
        self._keys = keys
        self._policy = policy
        self._limiter = Limiter(reads, policy.rate, "default") if policy.rate else None
        self._failures = Limiter(reads, policy.failures, "failures") if policy.failures else None

    async def admit(self, exchange: Exchange, scope: str, function: str = "") -> None:
        """Let a request in that needs a scope; empty: anybody may. Tells the exchange who the caller is.

        Raises:
            ProblemError: 401, 403, 421 or 429.
            LedgerUnavailableError: the keys, or what is left of the rate, cannot be read.
        """
        exchange.route = exchange.route or exchange.path
        address = self._address(exchange)
        exchange.caller = Caller("", "", address)
        if not scope:
            return
        keys = self._keys()
        if keys is None:
            raise LedgerUnavailableError("the API keys have not been read yet")
        if not keys and self._policy.is_loopback:
            # What looks harmless may be a declared GET route, which runs a function.
            changes = exchange.method not in _SAFE or scope.startswith("invoke:")
            exchange.is_noted = exchange.method not in _SAFE and scope in ("operate", "deploy")
            refuse_foreign_pages(exchange.headers, self._policy.hosts, changes_something=changes)
            return
        exchange.is_noted = exchange.method not in _SAFE or scope.startswith("invoke:")
        key = _authenticate(exchange.headers.get(b"authorization"), keys)
        exchange.caller = Caller(key.name, key.id, address)
        if not key.allows(scope):
            raise ProblemError(
                403,
                "scope-missing",
                f"the key {key.name!r} lacks the scope {scope}",
                headers=[(b"www-authenticate", b'Bearer realm="oncue", error="insufficient_scope"')],
            )
        await self._count(exchange, key.name, function or scope)

    async def admit_delivery(self, exchange: Exchange, trigger: HttpTrigger, function: str) -> None:
        """Let in what a declared route is sent: by its signature, which is checked later, or by a key. Raises as `admit`."""
        exchange.route = trigger.path
        if trigger.verify is None or (trigger.verify == "cloudevents" and not trigger.secret):
            return await self.admit(exchange, f"invoke:{function}", function)
        exchange.caller = Caller("", "", self._address(exchange))
        if self._keys() or not self._policy.is_loopback:
            exchange.is_noted = True
            await self._count(exchange, f"address {exchange.caller.address}", function)
        return None

    async def refused(self, exchange: Exchange, problem: ProblemError) -> ProblemError:
        """Count a request that could not be authenticated; return what to answer: the problem, or that there were too many."""
        if problem.status != 401 or self._failures is None or not (self._keys() or not self._policy.is_loopback):
            return problem
        try:
            headers = self._failures.take(self._address(exchange), "")
            if not isinstance(headers, list):
                await headers
        except ProblemError as too_many:
            return too_many
        return problem

    async def _count(self, exchange: Exchange, caller: str, function: str) -> None:
        if self._limiter is not None:
            headers = self._limiter.take(caller, function)
            exchange.further_headers = headers if isinstance(headers, list) else await headers

    def _address(self, exchange: Exchange) -> str:
        client = exchange.scope.get("client")
        return address_of(client[0] if client else "", exchange.headers.get(b"x-forwarded-for"), self._policy.proxies)


def scope_of(method: str, path: str) -> str:
    """Return the scope that a request to a reserved path needs; empty: none. `/v1/functions/{name}` is not asked for here."""
    if path in _OPEN or path.startswith("/docs/") or method == "OPTIONS":
        return ""
    if path == "/v1/audit":
        return "operate"
    if method in _SAFE:
        return "read"
    if path == "/v1/events":
        return "invoke:*"
    return "deploy" if path == "/v1/deployments" or path.startswith("/v1/deployments/") else "operate"


def _authenticate(authorization: bytes | None, keys: Mapping[str, ApiKey]) -> ApiKey:
    scheme, _, token = (authorization or b"").partition(b" ")
    if scheme.lower() != b"bearer":
        raise _unknown("key-missing", "send an API key: Authorization: Bearer oncue_…", b'Bearer realm="oncue"')
    key = find(token.strip().decode("latin-1"), keys)
    invalid = b'Bearer realm="oncue", error="invalid_token"'
    if key is None:
        raise _unknown("key-unknown", "there is no such API key; it may have been revoked", invalid)
    if not key.is_live(time.time() * 1000):
        raise _unknown("key-expired", f"the API key {key.name!r} has expired; make a new one: oncue key new", invalid)
    return key


def _unknown(code: str, detail: str, challenge: bytes) -> ProblemError:
    return ProblemError(401, code, detail, headers=[(b"www-authenticate", challenge)])
