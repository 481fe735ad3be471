"""The host's side of an inspection: starts the throwaway process, bounds it, and reads what it says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydantic import ValidationError

from runtime.authoring.exits import exit_words
from runtime.authoring.manifest import Manifest, Problem

#: Seconds an import may take, and the bytes a manifest may have.
DEADLINE_S = 20.0
MAX_MANIFEST_BYTES = 8 * 2**20

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def inspect(
    folder: Path, *, name: str | None = None, python: str = sys.executable, deadline_s: float = DEADLINE_S
) -> Manifest | Problem:
    """Import a folder in a throwaway process; return its manifest, or the problem that keeps it from serving.

    Never raises for what the folder does: a hang, an exit and a crash are problems with a reason.
    Blocks for at most `deadline_s` seconds.
    """
    name = name or folder.name
    if not _FOLDER_NAME.fullmatch(name):
        return Problem(folder=name, reason=f"{name!r} is no folder name; use letters, digits, '_', '-' and '.'")
    if not folder.is_dir():
        return Problem(
            folder=name, reason=f"{folder} is not a folder; a function lives in a folder of its own, like {name}/__init__.py"
        )
    reader, writer = os.pipe()
    with (
        # A file, not a pipe: what the import prints must never block it.
        tempfile.TemporaryFile() as printed,
        # The one place where the import may write (inspector.py); what cannot be removed, the system's own sweep removes.
        tempfile.TemporaryDirectory(prefix="oncue-inspection-", ignore_cleanup_errors=True) as scratch,
    ):
        process = subprocess.Popen(
            [
                python,
                *("-P", "-s", "-m", "runtime.authoring.inspector"),
                *(str(writer), str(folder.resolve()), name, str(os.getpid())),
            ],
            cwd=folder,
            env=_environment(scratch),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            pass_fds=(writer,),
            start_new_session=True,
        )
        os.close(writer)
        try:
            answer, in_time = _read(reader, deadline_s)
        finally:
            os.close(reader)
            _end(process)
        printed.seek(max(0, printed.seek(0, os.SEEK_END) - 2000))
        tail = printed.read().decode(errors="replace").strip()
    if not in_time:
        return Problem(folder=name, reason=f"the import did not end within {deadline_s:g} s; move slow work into the handler")
    if len(answer) > MAX_MANIFEST_BYTES:
        return Problem(
            folder=name, reason=f"the manifest is larger than {MAX_MANIFEST_BYTES >> 20} MiB; declare less in one folder"
        )
    try:
        document = json.loads(answer)
        if "problem" in document:
            return Problem.model_validate(document["problem"])
        return Manifest.model_validate(document["manifest"])
    except (ValueError, TypeError, KeyError, ValidationError):  # the import wrote to the descriptor, or never got to write
        last = f"; it last printed: {tail.splitlines()[-1]}" if tail else ""
        return Problem(folder=name, reason=f"the import ended its process ({exit_words(process.returncode)}){last}")


def _environment(scratch: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "TZ") if key in os.environ}
    return {**kept, "HOME": scratch, "TMPDIR": scratch, "PYTHONDONTWRITEBYTECODE": "1"}


def _read(reader: int, deadline_s: float) -> tuple[bytes, bool]:
    """Read until the process closes its end; a grandchild may hold it open, so the end of the line ends it, too."""
    ends, size = time.monotonic() + deadline_s, 0
    chunks: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while (left := ends - time.monotonic()) > 0:
            if not selector.select(left):
                break
            chunk = os.read(reader, 65536)
            chunks.append(chunk)
            size += len(chunk)
            if not chunk or chunk.endswith(b"\n") or size > MAX_MANIFEST_BYTES:
                return b"".join(chunks), True
    return b"", False


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        process.terminate()  # the inspector then ends all that the import has started, daemons included
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2.0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # should it be stuck: the session it leads
    process.wait()
