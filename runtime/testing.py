"""For the unit tests of a function folder: import the folder by its path, exactly as a child does."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from runtime.authoring.loading import PACKAGE, load_folder


def load(folder: Path) -> ModuleType:
    """Import a function folder and return its module; its handlers are plain callables.

        thumbnail = load(Path(__file__).parents[1]).thumbnail

    Raises:
        DeclarationError: the folder declares something that cannot work.
    """
    name = f"{PACKAGE}.{folder.name}"
    if name not in sys.modules:
        load_folder(folder)
    return sys.modules[name]
