"""What is refused before any request reaches the application: the bounds, the problem that each break is, and its bytes.

HTTP/1.1 408 Request Timeout
content-type: application/problem+json

{"type": "urn:oncue:problem:headers-timeout", "title": "Headers timeout", "status": 408, …}
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from triggers.http.answers import ProblemError
from triggers.http.exchange import next_id

#: Seconds a request's headers may take from their first byte, and its body after them.
HEADERS_S = 10.0
BODY_S = 30.0
#: Seconds for which a caller may take nothing of an answer that is ready for it.
UNREAD_S = 30.0
#: Bounds of the request's target, and of the header block (names, values, and four bytes for ": " and the line's end).
MAX_TARGET_BYTES = 16 * 1024
MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100
MOST_HEAD_BYTES = 2 * (MAX_TARGET_BYTES + MAX_HEADER_BYTES)
#: Bytes of chunk extensions and trailers that a body may have, and those that each of its own bytes may have around it: a chunk
#: of one byte has five. A trailer without an end would be collected for ever, and an extension read for ever.
MAX_FRAMING_BYTES = 16 * 1024
FRAMING_PER_BYTE = 16

MALFORMED = ProblemError(400, "malformed-request", "this is no valid HTTP request")
TARGET_TOO_LONG = ProblemError(
    414, "target-too-long", f"a path and its query may take {MAX_TARGET_BYTES // 1024} KiB; send data in the body"
)
TOO_MANY_HEADERS = ProblemError(
    431, "headers-too-large", f"headers may take {MAX_HEADER_BYTES // 1024} KiB and {MAX_HEADERS} lines; send fewer"
)
HEADERS_LATE = ProblemError(408, "headers-timeout", f"the headers did not arrive within {HEADERS_S:g} s")
BODY_LATE = ProblemError(408, "body-timeout", f"the body did not arrive within {BODY_S:g} s")
TOO_MUCH_FRAMING = ProblemError(
    400, "malformed-request", f"chunk extensions and trailers may take {MAX_FRAMING_BYTES // 1024} KiB beside the body's data"
)
_OTHER_WEBSOCKET = ProblemError(
    426,
    "upgrade-required",
    "WebSockets are spoken in version 13 (RFC 6455)",
    headers=[(b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")],
)
_AUTHORITY = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
# 16 bytes in base64 (RFC 6455, section 4.2.1)
_WEBSOCKET_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")


def is_consistent(target: bytes, headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a target that is a whole URL has the host of the header, which other servers go by (RFC 9112, section 3.2.2)."""
    authority = _AUTHORITY.match(target)
    return authority is None or authority[1].lower() == headers.get(b"host", authority[1]).lower()


def handshake_problem(method: str, headers: Mapping[bytes, bytes]) -> ProblemError | None:
    """Return what is wrong with a WebSocket's handshake; its own protocol would say so in plain text, and without an id."""
    if headers.get(b"sec-websocket-version") != b"13":
        return _OTHER_WEBSOCKET
    is_good = method == "GET" and _WEBSOCKET_KEY.fullmatch(headers.get(b"sec-websocket-key", b""))
    return None if is_good else MALFORMED


def wire(problem: ProblemError) -> bytes:
    """Return the whole answer, after which the connection ends."""
    request_id = next_id()
    answer = problem.answer("", request_id.decode())
    return b"%s%scontent-type: %s\r\ncontent-length: %d\r\nx-request-id: %s\r\nconnection: close\r\n\r\n%s" % (
        STATUS_LINE[problem.status],
        b"".join(b"%s: %s\r\n" % header for header in answer.headers),
        answer.media_type,
        len(answer.body),
        request_id,
        answer.body,
    )
