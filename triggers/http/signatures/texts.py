"""Looks into a body that is verified already, for the sender's own id or the kind of its message."""

from __future__ import annotations

import json
from typing import Any

from triggers.http.answers import ProblemError
from triggers.http.bodies import read_json

#: The longest id that is taken for one.
MAX_ID_CHARACTERS = 255


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; an empty one when it is none, which whoever reads the body will say."""
    try:
        document = read_json(body)
    except ProblemError:
        return {}
    return document if isinstance(document, dict) else {}


def text_member(body: bytes, name: str) -> str:
    """Return a member of the body's JSON object when it is a plain text, else an empty one."""
    return as_id(read_object(body).get(name)) if json.dumps(name).encode() in body else ""


def as_id(value: Any) -> str:
    """Return a value that can be an id, else an empty text."""
    is_fit = isinstance(value, str) and len(value) <= MAX_ID_CHARACTERS and value.isprintable()
    return value if is_fit else ""
