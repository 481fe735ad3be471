"""Reads what `oncue invoke` is given as data.

width=256 note=hello      parameters by name; JSON where it is JSON and the function does not want text
to=a@x.org to=b@x.org     a repeated name fills a list
image=@cat.jpg            a file as a parameter: base64 for bytes, else its text or JSON
@event.json               a JSON file as the whole body; parameters beside it go into its object
@cat.jpg width=256        any other file as the raw body, in its media type; parameters go into the query
note=@@home               a text that begins with @
"""

from __future__ import annotations

import base64
import json
import mimetypes
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body and query."""

    content: bytes
    media_type: str = "application/json"
    query: dict[str, str] = field(default_factory=dict)


def read(arguments: list[str], schema: dict[str, Any]) -> Body:
    """Make the request of the words, by the function's input schema.

    Raises:
        UsageError: a word is neither KEY=VALUE nor @FILE, a file cannot be read, or a name is given twice.
    """
    files = [word[1:] for word in arguments if word.startswith("@")]
    if len(files) > 1:
        raise UsageError(f"one @FILE can be the body, not {len(files)}; name the others, as in image=@{files[1]}")
    pairs = [_pair(word) for word in arguments if not word.startswith("@")]
    if not files:
        return Body(_json(_values(pairs, schema)))
    path = files[0]
    if path != "-" and not path.lower().endswith(".json"):
        media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
        query = dict(pairs)
        if len(query) < len(pairs):
            raise UsageError("a name is given twice; beside a raw body each parameter is given once")
        return Body(_bytes(path), media_type, query)
    try:
        document = json.loads(_bytes(path))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if pairs and not isinstance(document, dict):
        raise UsageError(f"{path} holds no JSON object, so {pairs[0][0]}=… has no place in it")
    return Body(_json({**document, **_values(pairs, schema)} if pairs else document))


def _pair(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UsageError(f"{word!r} is neither KEY=VALUE nor @FILE")
    return key, value


def _values(pairs: list[tuple[str, str]], schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    values: dict[str, Any] = {}
    for key, text in pairs:
        wanted = _forms(properties.get(key, {}), schema)
        is_list = any(form.get("type") == "array" for form in wanted)
        value = _value(text, wanted)
        if is_list and not isinstance(value, list):
            items = _forms(next(form for form in wanted if form.get("type") == "array").get("items", {}), schema)
            value = [_value(text, items)]
        if key not in values:
            values[key] = value
        elif is_list:
            values[key] = [*values[key], *value]
        else:
            raise UsageError(f"{key!r} is given twice, and takes one value")
    return values


def _value(text: str, wanted: list[dict[str, Any]]) -> Any:
    is_text = any(form.get("type") == "string" for form in wanted)
    if text.startswith("@@"):
        text = text[1:]
    elif text.startswith("@"):
        content = _bytes(text[1:])
        if any(form.get("contentEncoding") == "base64" for form in wanted):
            return base64.b64encode(content).decode()
        text = content.decode(errors="replace")
    if is_text:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _forms(schema: dict[str, Any], root: dict[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """Every form a value may take: the branches of anyOf and oneOf, with local references followed."""
    if depth > 8:
        return []
    if (reference := schema.get("$ref", "")).startswith("#/$defs/"):
        return _forms(root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {}), root, depth + 1)
    branches = [branch for word in ("anyOf", "oneOf", "allOf") for branch in schema.get(word, ())]
    return [form for branch in branches for form in _forms(branch, root, depth + 1)] or [schema]


def _bytes(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
