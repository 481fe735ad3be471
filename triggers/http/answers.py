"""What goes back to the caller: an `Answer`, or a `ProblemError` that becomes one.

{"type": "urn:oncue:problem:invalid-data", "title": "Invalid data", "status": 400, "code": "invalid-data",
 "detail": "the data does not fit 'thumbnail'", "instance": "/v1/functions/thumbnail", "request_id": "…",
 "errors": [{"pointer": "/width", "message": "the value is not of type \"integer\""}]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.types import Receive, Scope, Send

from runtime.authoring.errors import OnCueError

Header = tuple[bytes, bytes]

JSON = b"application/json"

encode_json = msgspec.json.Encoder().encode

#: What a path holds besides letters, digits and "-._~" (RFC 3986, section 3.3).
_PATH = "/:@!$&'()*+,;="


class Answer:
    """A complete response; an ASGI application that sends itself."""

    __slots__ = ("body", "headers", "media_type", "status")

    def __init__(self, status: int, body: bytes, media_type: bytes = JSON, headers: Sequence[Header] = ()) -> None:
        self.status = status
        self.body = body
        self.media_type = media_type
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*self.headers]
        if self.status not in (204, 304):
            headers += ((b"content-type", self.media_type), (b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def json_answer(status: int, document: Any, headers: Sequence[Header] = ()) -> Answer:
    """Return a document as JSON."""
    return Answer(status, encode_json(document), JSON, headers)


class ProblemError(OnCueError):
    """A request that cannot be served as it is; answered as RFC 9457 problem details.

    `code` is the stable name a client may act on, `detail` a sentence for a person. `members` are further
    members of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Sequence[Header] = (),
        instance: str | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers
        self.instance = instance
        self.members = members

    def answer(self, path: str, request_id: str) -> Answer:
        """Return the response to a request for `path`."""
        return Answer(self.status, encode_json(self.document(path, request_id)), b"application/problem+json", self.headers)

    def document(self, path: str, request_id: str) -> dict[str, Any]:
        """Return the problem of a request for `path`, as JSON."""
        document: dict[str, Any] = {
            "type": f"urn:oncue:problem:{self.code}",
            "title": self.code.replace("-", " ").capitalize(),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **({"instance": self.instance or quote(path, safe=_PATH)} if self.instance or path else {}),
            "request_id": request_id,
            **self.members,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        return document


def method_not_allowed(path: str, allowed: Sequence[str]) -> ProblemError:
    """Say which methods a path takes (RFC 9110, section 15.5.6)."""
    listed = ", ".join(sorted(allowed))
    return ProblemError(405, "method-not-allowed", f"{path} takes {listed}", headers=[(b"allow", listed.encode())])
