"""An example for a schema: what its author gave, else the plainest value that fits."""

from __future__ import annotations

from typing import Any

_PLAIN: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}
_BY_FORMAT = {
    "email": "ada@example.org",
    "uri": "https://example.org/cat.jpg",
    "date": "2026-01-31",
    "date-time": "2026-01-31T09:00:00Z",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
}


def example_of(schema: dict[str, Any]) -> Any:
    """Return a value for a JSON Schema. Optional fields are shown where they have a default or an example."""
    return _value(schema, schema, 0)


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
        return [_value(schema["items"], root, depth + 1)] if "items" in schema else []
    if kind == "string":
        return _text(schema)
    if kind in ("integer", "number") and "minimum" in schema:
        return schema["minimum"]
    return _PLAIN.get(str(kind))


def _object(schema: dict[str, Any], root: dict[str, Any], depth: int) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        name: _value(own, root, depth + 1)
        for name, own in schema.get("properties", {}).items()
        if name in required or (isinstance(own, dict) and ("examples" in own or own.get("default") is not None))
    }


def _text(schema: dict[str, Any]) -> str:
    if schema.get("contentEncoding") == "base64" or schema.get("format") in ("binary", "base64"):
        return "aGVsbG8="
    return _BY_FORMAT.get(schema.get("format", ""), "text")
