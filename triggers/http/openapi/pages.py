"""`/openapi.json`, and `/docs`: one page of our own that reads it; it needs nothing from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import resources
from importlib.metadata import version

from starlette.requests import Request
from starlette.routing import Route

from triggers.http.answers import JSON, Answer, Header, ProblemError, encode_json
from triggers.http.exchange import EXCHANGE, Exchange
from triggers.http.openapi.document import document
from triggers.http.results import is_fresh
from triggers.http.served import Served

_FILES = {"page.js": b"text/javascript; charset=utf-8", "page.css": b"text/css; charset=utf-8"}
_GUARDED: list[Header] = [
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]


class Pages:
    """The endpoints that describe the API. `routes_of_all`: every route of the router."""

    def __init__(self, served: Callable[[], Served], routes_of_all: Callable[[], list[Route]]) -> None:
        self._served = served
        self._routes_of_all = routes_of_all
        self._made: tuple[Served, bytes] | None = None

    def routes(self) -> list[Route]:
        """Return their routes."""
        return [
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/docs", self.page, methods=["GET"]),
            Route("/docs/{file}", self.file, methods=["GET"]),
        ]

    async def openapi(self, request: Request) -> Answer:
        """Answer the document; made once for what is served."""
        served = self._served()
        if self._made is None or self._made[0] is not served:
            self._made = (served, encode_json(document(served, self._routes_of_all(), version("oncue"))))
        body = self._made[1]
        tag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
        headers = [(b"etag", tag), (b"cache-control", b"no-cache")]
        exchange: Exchange = request.scope[EXCHANGE]
        if is_fresh(exchange.headers.get(b"if-none-match", b""), tag):
            return Answer(304, b"", headers=headers)
        return Answer(200, body, JSON, headers)

    async def page(self, request: Request) -> Answer:
        """Answer the page."""
        return Answer(200, _read("page.html"), b"text/html; charset=utf-8", _GUARDED)

    async def file(self, request: Request) -> Answer:
        """Answer a file of the page."""
        name = request.path_params["file"]
        if name not in _FILES:
            raise ProblemError(404, "not-found", "the page has no such file")
        return Answer(200, _read(name), _FILES[name], _GUARDED)


def _read(name: str) -> bytes:
    return (resources.files("triggers.http.openapi") / "page" / name).read_bytes()
