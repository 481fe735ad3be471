"""An example for a schema: what its author gave, else the plainest value that fits; none where that is hard to find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs

_PLAIN: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}
_BY_FORMAT = {
    "email": "ada@example.org",
    "uri": "https://example.org/cat.jpg",
    "date": "2026-01-31",
    "date-time": "2026-01-31T09:00:00Z",
    "time": "09:00:00",
    "duration": "PT1H",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
}


def example_of(schema: dict[str, Any]) -> Any:
    """Return a value for a JSON Schema; None when none was found that it takes, as for most patterns.

    Optional fields are shown where they have a default or an example.
    """
    value = _value(schema, schema, 0)
    try:
        fits = jsonschema_rs.is_valid(schema, value, offline=True)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):  # targets.py tells of such a schema
        fits = False
    return value if fits else None


def _value(schema: Any, root: dict[str, Any], depth: int) -> Any:
    if not isinstance(schema, dict) or depth > 6:  # `true`, or a type that contains itself
        return None
    reference = schema.get("$ref", "")
    if reference.startswith("#/$defs/"):
        return _value(root.get("$defs", {}).get(reference.removeprefix("#/$defs/")), root, depth + 1)
    for name in ("examples", "enum"):
        if schema.get(name):
            return schema[name][0]
    for name in ("example", "const", "default"):
        if name in schema:
            return schema[name]
    options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if options:
        return _value(options[0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else None)
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, root, depth)
    if kind == "string":
        return _text(schema)
    if kind in ("integer", "number"):
        return next((number for number in _numbers(schema, kind) if jsonschema_rs.is_valid(schema, number)), _PLAIN[kind])
    return _PLAIN.get(str(kind))


def _object(schema: dict[str, Any], root: dict[str, Any], depth: int) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        name: _value(own, root, depth + 1)
        for name, own in schema.get("properties", {}).items()
        if name in required or (isinstance(own, dict) and ("examples" in own or own.get("default") is not None))
    }


def _array(schema: dict[str, Any], root: dict[str, Any], depth: int) -> list[Any]:
    fixed = [_value(own, root, depth + 1) for own in schema.get("prefixItems", ())]
    if "items" not in schema or schema["items"] is False:
        return fixed
    missing = max(schema.get("minItems", 1) - len(fixed), 0 if fixed else 1)
    return fixed + [_value(schema["items"], root, depth + 1)] * min(missing, schema.get("maxItems", missing), 100)


def _text(schema: dict[str, Any]) -> str:
    if schema.get("contentEncoding") == "base64" or schema.get("format") in ("binary", "base64"):
        return "aGVsbG8="
    if "format" in schema:
        return _BY_FORMAT.get(schema["format"], "text")
    least: int = min(schema.get("minLength", 0), 1000)
    most: int = schema.get("maxLength", 1000)
    return ("text" * (1 + least // 4))[: max(4, least)][:most]


def _numbers(schema: dict[str, Any], kind: str) -> Iterator[float]:
    """Yield numbers, the plainest first, of which one should be within the bounds."""
    yield _PLAIN[kind]
    for bound, step in (("minimum", 0), ("exclusiveMinimum", 1), ("maximum", 0), ("exclusiveMaximum", -1)):
        if bound in schema:
            yield schema[bound] + step
    divisor = schema.get("multipleOf")
    if divisor:
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        yield from (divisor * (low // divisor + count) for count in (0, 1, 2))
    if "exclusiveMinimum" in schema and "exclusiveMaximum" in schema:
        yield (schema["exclusiveMinimum"] + schema["exclusiveMaximum"]) / 2
