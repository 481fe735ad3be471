"""Query strings and forms as data: fields by name, read as the function's schema types them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request

from triggers.http.answers import Header, ProblemError

#: Fields in one query or form.
MAX_FIELDS = 200
#: Items of a page, when not said, and at most.
PAGE_ITEMS = 50
MAX_PAGE_ITEMS = 200

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def read_fields(encoded: bytes) -> list[tuple[str, str]]:
    """Return the fields of a query string or an urlencoded form, in order.

    Raises:
        ProblemError: 400: no UTF-8, or too many fields.
    """
    try:
        return parse_qsl(
            encoded.decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS, separator="&"
        )
    except ValueError as error:
        raise ProblemError(400, "invalid-query", f"the query or form cannot be read: {error}") from None


def read_names(request: Request, known: Iterable[str]) -> dict[str, str]:
    """Return the parameters of an endpoint.

    Raises:
        ProblemError: 400, naming one that the endpoint does not have.
    """
    query = dict(request.query_params)
    unknown = query.keys() - set(known)
    if unknown:
        raise ProblemError(400, "invalid-query", f"unknown parameter {min(unknown)[:100]!r}; use {', '.join(known)}")
    return query


def read_limit(text: str | None) -> int:
    """Return how many items a page is to have.

    Raises:
        ProblemError: 400: it is no number within bounds.
    """
    if text is None:
        return PAGE_ITEMS
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= MAX_PAGE_ITEMS:
        raise ProblemError(400, "invalid-query", f"limit is a number from 1 to {MAX_PAGE_ITEMS}")
    return int(text)


def next_link(request: Request, query: dict[str, str], cursor: str) -> Header:
    """Return the header that leads to the next page."""
    return b"link", f'<{request.url.path}?{urlencode({**query, "cursor": cursor})}>; rel="next"'.encode()


def as_data(fields: Iterable[tuple[str, str]], schema: dict[str, Any]) -> dict[str, Any]:
    """Return fields as JSON values: what repeats becomes a list where the schema has an array.

    A value that is not of its type stays text, for the schema to refuse; of a repeated single field, the last counts.
    """
    properties: dict[str, Any] = schema.get("properties", {})
    data: dict[str, Any] = {}
    for name, text in fields:
        types = _types(properties.get(name, {}), schema)
        if "array" in types:
            data.setdefault(name, []).append(_read(text, _item_types(properties[name], schema)))
        else:
            data[name] = _read(text, types)
    return data


def _read(text: str, types: set[str]) -> Any:
    if "boolean" in types and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if types & {"integer", "number"} and _INTEGER.fullmatch(text):
        return int(text)
    if "number" in types and _NUMBER.fullmatch(text):
        return float(text)
    if "null" in types and "string" not in types and text == "":
        return None
    return text


def _types(schema: dict[str, Any], root: dict[str, Any], depth: int = 0) -> set[str]:
    """Return the JSON types a schema admits, through references and alternatives."""
    return {kind for option in _options(schema, root, depth) for kind in _listed(option.get("type"))}


def _item_types(schema: dict[str, Any], root: dict[str, Any]) -> set[str]:
    items = [option["items"] for option in _options(schema, root, 0) if isinstance(option.get("items"), dict)]
    return {kind for item in items for kind in _types(item, root)}


def _options(schema: dict[str, Any], root: dict[str, Any], depth: int) -> list[dict[str, Any]]:
    if depth > 8:  # a recursive type; its text is left as it is
        return []
    reference = schema.get("$ref", "")
    if reference.startswith("#/$defs/"):
        return _options(root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {}), root, depth + 1)
    nested = [part for key in ("anyOf", "oneOf", "allOf") for part in schema.get(key, ())]
    return [schema, *(option for part in nested for option in _options(part, root, depth + 1))]


def _listed(kind: Any) -> list[str]:
    return kind if isinstance(kind, list) else [kind] if isinstance(kind, str) else []
