"""`oncue verify`: why a stored request is refused by a route's signature scheme. Looks at this host's secrets.

@request is the request as it came ("POST /hooks/github HTTP/1.1", headers, an empty line, the body), or JSON:
{"method": "POST", "path": "/hooks/github", "headers": {…}, "body": "…"} with "body_base64" for what is no text.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infra.cli.api import Api
from infra.cli.errors import UsageError
from infra.cli.showing import print_facts, print_json
from infra.settings import Settings, secret
from runtime.authoring.routes import Hmac
from runtime.authoring.triggers import HttpTrigger
from runtime.versions.catalog import shape
from triggers.http.signatures import Secret, Signed, Terms
from triggers.http.signatures.explaining import explain


def verify_request(url: str | None, name: str, word: str, *, route: str | None, at: str | None, as_json: bool) -> int:
    """Print whether a stored request would be let in, and if not why; return the exit code.

    Raises:
        UsageError: the request cannot be read, or the function has no such route that verifies its senders.
    """
    signed = read_request(word)
    trigger = _route(Api(url).get(f"/v1/functions/{quote(name, safe='')}").json(), signed, route)
    held = [Secret(each, value) for each in trigger.secret if (value := secret(each))]
    now = _moment(at).timestamp() if at else time.time()
    found = explain(signed, Terms(trigger, held, now, Settings.load().public_url))
    if as_json:
        document = {"verified": found.is_good, "code": found.code or None, "reason": found.reason, "hints": found.hints}
        print_json({"route": f"{trigger.method} {trigger.path}", "scheme": _scheme(trigger), **document})
    else:
        names = {each.name for each in held}
        print_facts(
            [
                ("route", f"{trigger.method} {trigger.path}"),
                ("scheme", _scheme(trigger)),
                *(("secret", f"{each} {'is set' if each in names else 'is not set on this host'}") for each in trigger.secret),
                ("verified", "yes" if found.is_good else "no"),
                ("code", found.code or None),
                ("reason", found.reason),
                *(("hint", hint) for hint in found.hints),
            ]
        )
    return 0 if found.is_good else 1


def read_request(word: str) -> Signed:
    """Return the stored request of "@file", "@-" or a plain path.

    Raises:
        UsageError: it cannot be read.
    """
    path = word.removeprefix("@")
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    return _from_json(path, content) if content.lstrip()[:1] == b"{" else _from_text(path, content)


def _from_text(path: str, content: bytes) -> Signed:
    head, empty, body = content.partition(b"\r\n\r\n")
    if not empty or b"\n\n" in head:
        head, _, body = content.partition(b"\n\n")
    first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
    method, _, rest = first.partition(b" ")
    target = rest.partition(b" ")[0]
    if not method.isalpha() or not target.startswith(b"/"):
        raise UsageError(f"{path} is no request; its first line is to be like 'POST /hooks/github HTTP/1.1'")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise UsageError(f"{path} has a line that is no header: {line[:60].decode('latin-1')!r}")
        _add(headers, name.strip(), value.strip())
    return Signed(method.decode().upper(), target, headers, body)


def _from_json(path: str, content: bytes) -> Signed:
    try:
        document: dict[str, Any] = json.loads(content)
        given = document["headers"]
        headers: dict[bytes, bytes] = {}
        for name, value in given.items() if isinstance(given, dict) else given:
            _add(headers, name.encode("latin-1"), value.encode("latin-1"))
        encoded = document.get("body_base64")
        body = base64.b64decode(encoded, validate=True) if encoded else document.get("body", "").encode()
        return Signed(document.get("method", "POST").upper(), document["path"].encode(), headers, body)
    except KeyError as error:
        raise UsageError(f"{path} lacks {error}; it takes method, path, headers, and body or body_base64") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no request: {error}") from error


def _add(headers: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    name = name.lower()
    headers[name] = headers[name] + b", " + value if name in headers else value  # as the edge joins them


def _route(function: dict[str, Any], signed: Signed, path: str | None) -> HttpTrigger:
    declared = [HttpTrigger.model_validate(each) for each in function["triggers"] if each["kind"] == "http"]
    verifying = [each for each in declared if each.verify is not None]
    if not verifying:
        raise UsageError(f"{function['name']!r} has no route that verifies its senders; give one verify='…' and secret='…'")
    asked = path or signed.target.partition(b"?")[0].decode("latin-1")
    fitting = [each for each in verifying if each.path == asked or _fits(each.path, asked)]
    if len(fitting) == 1 or (len(verifying) == 1 and path is None):
        return (fitting or verifying)[0]
    raise UsageError(
        f"{function['name']!r} has the routes {', '.join(each.path for each in verifying)}; say which with --route"
    )


def _fits(declared: str, asked: str) -> bool:
    own, given = shape(declared).split("/"), asked.split("/")
    return len(own) == len(given) and all(a in ("{}", b) for a, b in zip(own, given, strict=True))


def _scheme(trigger: HttpTrigger) -> str:
    return f"Hmac(header={trigger.verify.header!r})" if isinstance(trigger.verify, Hmac) else str(trigger.verify)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--at {text!r} is no time; write it like 2026-01-31T09:00:00Z") from error
    if moment.tzinfo is None:
        raise UsageError(f"--at {text!r} does not say its zone; write it like {text}Z")
    return moment
