"""What libraries would import at every start, and OnCue has no use for: an eighth to a quarter of a process's start."""

from __future__ import annotations

import os
import sys


def leave_out(*modules: str) -> None:
    """Have imports of these fail from now on, and spare what httpx and pydantic would import for nothing.

    Call it before anything of theirs is imported. A library that can do without a module does so.
    """
    # httpx has a command line of its own, made with click and pygments; without it, httpx does the same but for that.
    for module in ("httpx._main", *modules):
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]  # None: importing it fails (The import system, 5.3.1)
    # pydantic asks every installed distribution for plug-ins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
