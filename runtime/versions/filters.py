"""`when=` filters: which events a trigger lets through, by fields of their data."""

from __future__ import annotations

from typing import Any

from runtime.authoring.declared import When

_ABSENT = object()


def matches(when: When | None, data: Any) -> bool:
    """Tell whether data passes a filter: every named field has its value, or one of its list of values.

    {"action": "opened", "pull_request.draft": False, "kind": ["a", "b"]}; a dot leads into an object, and
    `None` also matches a field that is not there.
    """
    return when is None or all(_holds(expected, _field(data, path)) for path, expected in when.items())


def _holds(expected: Any, value: Any) -> bool:
    if value is _ABSENT:
        value = None
    options = expected if isinstance(expected, list | tuple) else [expected]
    # 1 == True in Python, not in JSON.
    return any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in options)


def _field(data: Any, path: str) -> Any:
    if isinstance(data, dict) and path in data:
        return data[path]
    for name in path.split("."):
        data = data.get(name, _ABSENT) if isinstance(data, dict) else _ABSENT
    return data
