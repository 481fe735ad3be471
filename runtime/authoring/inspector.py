"""The throwaway process: imports one folder and writes its manifest, or the problem, to a file descriptor.

    python -P -s -m runtime.authoring.inspector FD FOLDER NAME HOST_PID

The author's code runs in a fork of it and nowhere near the host: it may print, exit, crash or hang, and change no file but
temporary ones. What it leaves running is a problem. The process itself adopts whatever that fork orphans, ends all of it,
and then ends as the fork did.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from runtime.authoring import misfits, schedule
from runtime.authoring.confining import KEPT_HELPERS, allow_writes_below
from runtime.authoring.errors import DeclarationError
from runtime.authoring.handler import Handler
from runtime.authoring.loading import load_folder
from runtime.authoring.manifest import FunctionManifest, Manifest, Problem
from runtime.authoring.options import FunctionOptions
from runtime.authoring.triggers import CronTrigger, HttpTrigger

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)

#: seconds that processes which an import has started may take to end after it
_LEFTOVER_GRACE_S = 0.2

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
    properties = {field.alias or name for name, field in handler.model.model_fields.items()}
    for trigger in declaration.triggers:
        if isinstance(trigger, HttpTrigger) and handler.whole is None and not handler.takes_rest:
            for parameter in re.findall(r"\{(\w+)\}", trigger.path):
                if parameter not in properties:
                    raise DeclarationError(
                        f"the path {trigger.path!r} names {parameter!r}, which is no parameter of {handler.name!r}; add it",
                        **place,
                    )
    _check_said_once(handler, place)
    _check_schedules(handler, place)
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


def _check_said_once(handler: Handler, place: dict[str, Any]) -> None:
    said: set[str] = set()
    for trigger in handler.declaration.triggers:
        if isinstance(trigger, CronTrigger):  # a schedule has more to it: see below
            continue
        words = f"{trigger.method} {trigger.path}" if isinstance(trigger, HttpTrigger) else repr(trigger)
        if words in said:
            raise DeclarationError(f"{handler.name!r} declares one trigger twice: {words}; remove one", **place)
        said.add(words)


def _check_schedules(handler: Handler, place: dict[str, Any]) -> None:
    """Refuse a handler that a schedule's event cannot call, and one schedule said twice."""
    schedules = [trigger for trigger in handler.declaration.triggers if isinstance(trigger, CronTrigger)]
    if not schedules:
        return
    said = [(trigger.expression, trigger.every_s, trigger.timezone) for trigger in schedules]
    if len(set(said)) < len(said):
        raise DeclarationError(f"{handler.name!r} declares one schedule twice; remove one @cron", **place)
    try:
        handler.model.model_validate(schedule.event_data("2026-01-01T00:00:00+00:00", said[0][0] or "every 60s"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        parameter = str(first["loc"][0]) if first["loc"] else handler.whole
        raise DeclarationError(
            f"a schedule fills no parameters but 'scheduled_for' and 'schedule', and {handler.name!r} has {parameter!r} "
            f"({first['msg'][:1].lower()}{first['msg'][1:]}); give it a default, or take an Event",
            **place,
        ) from error


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
    elif isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        option = ".".join(map(str, first["loc"]))
        at = option if first["type"] == "missing" else f"{option}={first['input']!r}"
        reason = f"{error.title}({at}): {misfits.cure(first)}"
    else:
        reason = "".join(traceback.format_exception_only(error)).strip()
        if isinstance(error, PermissionError):
            reason += "; an import may read, and write temporary files: move what else it writes into the handler"
    if file is None:
        for frame in traceback.extract_tb(error.__traceback__):
            if _relative(frame.filename, folder):
                file, line = frame.filename, frame.lineno
    file = _relative(file, folder) if file else None
    return Problem(folder=name, file=file, line=line if file else None, reason=reason)


def _relative(file: str, folder: Path) -> str | None:
    if file.startswith("<"):  # "<string>", "<frozen importlib._bootstrap>"
        return None
    try:
        return str(Path(file).resolve().relative_to(folder.resolve()))
    except ValueError:
        return None


def _import(descriptor: int, folder: Path, name: str) -> NoReturn:
    """Write {"manifest": …} or {"problem": …} and a line feed, then leave without running exit handlers."""
    document: dict[str, Any]
    allow_writes_below(Path(tempfile.gettempdir()))
    importer = os.getpid()
    # What an orphan's parent leaves to this process can be seen here, and told.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    try:
        document = {"manifest": inspect_folder(folder, name).model_dump(mode="json", by_alias=True)}
        _refuse_leftovers()
    except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt of the author's code included
        document = {"problem": _problem(error, folder, name).model_dump(mode="json")}
    if os.getpid() != importer:
        os._exit(int("problem" in document))  # a fork that came back from the import: only the importer itself answers
    data = json.dumps(document).encode() + b"\n"
    code = 0
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:  # the import has closed the descriptor
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # the import has closed or replaced it
            stream.flush()
    # Threads that the import left running must not hold the inspection up.
    os._exit(code)


def _refuse_leftovers() -> None:
    if left := _left_running():
        raise DeclarationError(f"the import left {', '.join(left)} running; start processes in the handler")


def _left_running() -> list[str]:
    """Return the command lines of what the import has started and left; what is about to end gets a moment."""
    ends = time.monotonic() + _LEFTOVER_GRACE_S
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return []
        lines = [_command_line(pid) for pid in _children()]
        lines = [line for line in lines if not any(helper in line for helper in KEPT_HELPERS)]
        if not lines or time.monotonic() > ends:
            return lines
        time.sleep(0.01)


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        words = []
    return b" ".join(words).decode(errors="replace").strip()[:100] or f"process {pid}"


def _children() -> Iterator[int]:
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # "42 (a (name) with) S 1 …": the name may hold anything, so count from the last ")" (proc(5))
            if int((directory / "stat").read_bytes().rpartition(b")")[2].split()[1]) == os.getpid():
                yield int(directory.name)


def _end_descendants() -> None:
    """SIGKILL all that is left: as each one dies, what it started becomes a child of this process."""
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _give_up(*_: object) -> NoReturn:
    _end_descendants()
    os._exit(1)


def main() -> None:
    """Have a fork import the folder, end what it leaves behind, and end the way it ended."""
    descriptor, folder, name, host = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    importer = os.fork()
    if importer == 0:
        _import(descriptor, folder, name)
    os.close(descriptor)
    signal.signal(signal.SIGTERM, _give_up)
    # A host that is killed ends the import, too, which might hang.
    prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != host:
        _give_up()
    _, status = os.waitpid(importer, 0)
    _end_descendants()
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
