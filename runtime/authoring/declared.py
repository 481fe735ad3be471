"""What every declaration is: a checked value that cannot change, and knows no options but its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        as_read: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("write it in JSON's types: text, numbers, True, False, None, lists and dicts") from error
    return as_read


def named(pattern: str, example: str) -> Callable[[str], str]:
    """Return a check for names of a form; `example` is one."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} is no name for it; write it like {example!r}")
        return value

    return check


def listed(value: Any) -> Any:
    """Take one name for a list of one."""
    return (value,) if isinstance(value, str | type) else value


#: Values in JSON's own types.
JsonObject = Annotated[dict[str, Any], AfterValidator(_as_json)]

#: The name of a secret, as in ONCUE_SECRET_<NAME>.
SecretName = Annotated[str, AfterValidator(named(r"[A-Z][A-Z0-9_]*", "API_KEY"))]

SecretNames = Annotated[tuple[SecretName, ...], BeforeValidator(listed)]

#: A filter on data fields: {"action": "opened", "pull_request.draft": False, "kind": ["a", "b"]}.
When = JsonObject


class Declared(BaseModel):
    """The base of triggers and options."""

    # Built at first use: a child that starts needs few of them.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
