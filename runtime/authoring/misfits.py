"""Says in our words what pydantic finds wrong with a value: what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Kinds of pydantic's -> the cure.
_CURES = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "write a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "write a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "write True or False"),
    "string_type": "write a text",
    "tuple_type": "write a list",
    "dict_type": "write a dict",
    "greater_than": "it must be more than {gt}{unit}",
    "greater_than_equal": "the least is {ge}{unit}",
    "less_than_equal": "the most is {le}{unit}",
    "literal_error": "write {expected}",
    "missing": "it is needed",
    "extra_forbidden": "there is no such option",
}


def cure(error: Mapping[str, Any], unit: str = "") -> str:
    """Say one of `ValidationError.errors()` in a few words; `unit` stands behind a bound."""
    words = _CURES.get(error["type"])
    if words is not None:
        bounds = {name: f"{value:.12g}" if isinstance(value, float) else value for name, value in error.get("ctx", {}).items()}
        return words.format(unit=unit, **bounds)
    return str(error["msg"]).removeprefix("Value error, ")
