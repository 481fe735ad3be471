"""The throwaway process: imports one folder and writes its manifest, or the problem, to a file descriptor.

    python -P -s -m runtime.authoring.inspector FD FOLDER [NAME]

The author's code runs here and nowhere near the host: it may print, exit, crash or hang.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from runtime.authoring.errors import DeclarationError
from runtime.authoring.handler import Handler
from runtime.authoring.loading import load_folder
from runtime.authoring.manifest import FunctionManifest, Manifest, Problem
from runtime.authoring.triggers import FunctionOptions, HttpTrigger

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


def inspect_folder(folder: Path, name: str) -> Manifest:
    """Import a folder and describe its functions. Runs the author's code."""
    return Manifest(
        folder=name,
        python=platform.python_version(),
        functions=tuple(_describe(handler, folder) for handler in load_folder(folder, name)),
    )


def _describe(handler: Handler, folder: Path) -> FunctionManifest:
    declaration = handler.declaration
    place: dict[str, Any] = {"file": declaration.file, "line": declaration.line}
    if not _NAME.fullmatch(handler.name):
        raise DeclarationError(f"{handler.name!r} is no function name; use letters, digits, '_', '-' and '.'", **place)
    properties = handler.model.model_fields.keys()
    for trigger in declaration.triggers:
        if isinstance(trigger, HttpTrigger) and handler.whole is None and not handler.takes_rest:
            for parameter in re.findall(r"\{(\w+)\}", trigger.path):
                if parameter not in properties:
                    raise DeclarationError(
                        f"the path {trigger.path!r} names {parameter!r}, which is no parameter of {handler.name!r}; add it",
                        **place,
                    )
    document = (handler.call.__doc__ or "").strip()
    return FunctionManifest(
        name=handler.name,
        summary=document.splitlines()[0] if document else "",
        description=document,
        file=_relative(declaration.file, folder) or declaration.file,
        line=declaration.line,
        is_async=handler.is_async,
        options=declaration.options or FunctionOptions(),
        triggers=tuple(declaration.triggers),
        input_schema=handler.input_schema(),
        output_schema=handler.output_schema(),
        blob_parameter=handler.blob_parameter,
        takes_rest=handler.takes_rest or bool(handler.model.model_config.get("extra") == "allow"),
    )


def _problem(error: BaseException, folder: Path, name: str) -> Problem:
    """Say where in the folder the error came from, and what it means."""
    file: str | None = None
    line: int | None = None
    if isinstance(error, DeclarationError):
        file, line, reason = error.file, error.line, error.message
    elif isinstance(error, SyntaxError):
        file, line, reason = error.filename, error.lineno, f"SyntaxError: {error.msg}"
    elif isinstance(error, SystemExit):
        reason = f"the import calls sys.exit({error.code!r}); a folder must only declare its functions"
    elif isinstance(error, ModuleNotFoundError):
        reason = f"{error}; add it to {name}/requirements.txt or install it where OnCue runs"
    else:
        reason = "".join(traceback.format_exception_only(error)).strip()
    if file is None:
        for frame in traceback.extract_tb(error.__traceback__):
            if _relative(frame.filename, folder):
                file, line = frame.filename, frame.lineno
    return Problem(folder=name, file=_relative(file, folder) if file else None, line=line, reason=reason)


def _relative(file: str, folder: Path) -> str | None:
    try:
        return str(Path(file).resolve().relative_to(folder.resolve()))
    except ValueError:
        return None


def main() -> None:
    """Write {"manifest": …} or {"problem": …} to the descriptor, then leave without running exit handlers."""
    descriptor, folder = int(sys.argv[1]), Path(sys.argv[2])
    name = sys.argv[3] if len(sys.argv) > 3 else folder.name
    document: dict[str, Any]
    try:
        document = {"manifest": inspect_folder(folder, name).model_dump(mode="json", by_alias=True)}
    except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt of the author's code included
        document = {"problem": _problem(error, folder, name).model_dump(mode="json")}
    data = json.dumps(document).encode()
    while data:
        data = data[os.write(descriptor, data) :]
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that the import left running must not hold the inspection up.
    os._exit(0)


if __name__ == "__main__":
    main()
