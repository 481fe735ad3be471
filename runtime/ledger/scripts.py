"""The Lua scripts, each behind the shared prelude, with the digest that EVALSHA calls them by."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple


class Script(NamedTuple):
    source: bytes
    sha: str


@cache
def script(name: str) -> Script:
    """Return `scripts/<name>.lua` behind `scripts/prelude.lua`."""
    folder = resources.files("runtime.ledger") / "scripts"
    source = (folder / "prelude.lua").read_bytes() + (folder / f"{name}.lua").read_bytes()
    return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest())
