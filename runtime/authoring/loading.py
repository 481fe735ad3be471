"""Imports a folder by its path, in the process that is made for it, and finds its declared handlers."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path

from runtime.authoring.decorators import ATTRIBUTE
from runtime.authoring.errors import DeclarationError
from runtime.authoring.handler import Handler

#: The synthetic package that folders are imported into, so that a folder named `email` shadows nothing.
PACKAGE = "functions"


def load_folder(folder: Path, name: str | None = None) -> list[Handler]:
    """Import the folder and return its handlers in order of name.

    `__init__.py` is imported when there is one, else every top-level module that is no test. The folder's own
    modules import each other as `from .module import …`, or as `import module`, which yields to installed names.

    Raises:
        DeclarationError: no declared handler, two of one name, or one that cannot be described.
        Exception: whatever the folder's code raises.
    """
    package = f"{PACKAGE}.{name or folder.name}"
    parent = sys.modules.setdefault(PACKAGE, types.ModuleType(PACKAGE))
    parent.__path__ = []
    sys.path.append(str(folder))
    entry = folder / "__init__.py"
    if entry.exists():
        spec = importlib.util.spec_from_file_location(package, entry, submodule_search_locations=[str(folder)])
        assert spec is not None  # a .py path always has a spec and a loader
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[package] = module
        spec.loader.exec_module(module)
    else:
        module = types.ModuleType(package)
        module.__path__ = [str(folder)]
        sys.modules[package] = module
        for source in sorted(folder.glob("*.py")):
            if source.stem != "conftest" and not source.stem.startswith(("test_", "_")):
                importlib.import_module(f"{package}.{source.stem}")
    return _handlers(name or folder.name, package)


def _handlers(name: str, package: str) -> list[Handler]:
    callables = {
        id(value): value
        for module_name, module in list(sys.modules.items())
        if module_name == package or module_name.startswith(package + ".")
        for value in list(vars(module).values())
        if isinstance(value, types.FunctionType) and ATTRIBUTE in vars(value)
    }
    # A wrapper and what it wraps share one declaration; the wrapper is what the author named.
    wrapped = {id(getattr(value, "__wrapped__", None)) for value in callables.values()}
    handlers: dict[str, Handler] = {}
    for key, value in callables.items():
        if key in wrapped:
            continue
        handler = Handler.read(value)
        other = handlers.setdefault(handler.name, handler)
        if other is not handler:
            places = " and ".join(f"{Path(h.declaration.file).name}:{h.declaration.line}" for h in (other, handler))
            raise DeclarationError(
                f"two functions are named {handler.name!r}: {places}; rename one",
                file=handler.declaration.file,
                line=handler.declaration.line,
            )
    if not handlers:
        raise DeclarationError(
            f"no function is declared in {name}/; decorate a handler with @function, @http, @cron, @on or @queue"
        )
    return [handlers[name] for name in sorted(handlers)]
