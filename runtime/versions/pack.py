"""Packs a folder: reads its files within bounds, and names the content by its digest.

The digest depends on relative paths and bytes alone: not on file times, order or machine. `tests/`, hidden
files and caches stay out, so that they make no new version.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from runtime.authoring.errors import DeclarationError

#: Bounds of one folder.
MAX_FILES = 5_000
MAX_BYTES = 100 * 2**20

_LEFT_OUT = frozenset(("__pycache__", "tests", "node_modules"))


@dataclass(frozen=True, slots=True)
class Pack:
    """A folder's content: relative POSIX paths and bytes, in order of path."""

    folder: str
    files: tuple[tuple[str, bytes], ...]

    @property
    def version(self) -> str:
        """The name of this content: 20 hex digits of SHA-256 over folder name, paths and bytes."""
        digest = hashlib.sha256(f"oncue.version/1\0{self.folder}\0".encode())
        for path, content in self.files:
            digest.update(f"{path}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:20]

    def unpack(self, target: Path) -> None:
        """Write the files below `target`, which must not exist; it appears as a whole or not at all."""
        staging = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            staging.mkdir(parents=True)
            for path, content in self.files:
                file = staging / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            staging.rename(target)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)  # on a full disk it is what fills it
            if not target.is_dir():
                raise  # else another process has just unpacked the same content


def pack(folder: Path) -> Pack:
    """Read a folder.

    Raises:
        DeclarationError: it holds something that is neither a file nor a folder, or too much.
    """
    files: list[tuple[str, bytes]] = []
    size = 0
    for directory, names, file_names in os.walk(folder, onerror=_refuse):
        names[:] = sorted(name for name in names if name not in _LEFT_OUT and not name.startswith("."))
        for name in (*names, *sorted(file_names)):
            path = Path(directory, name)
            relative = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) or name.startswith(".") or name.endswith((".pyc", ".pyo")):
                continue
            if not stat.S_ISREG(mode):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "no plain file"
                raise DeclarationError(
                    f"{relative!r} is {kind}; a folder holds plain files only: put a copy there", file=relative
                )
            if not relative.isprintable():  # bytes that are no UTF-8 come as lone surrogates (PEP 383)
                raise DeclarationError(
                    f"{relative!r} is no UTF-8 file name, or holds control characters; rename it", file=ascii(relative)
                )
            size += path.lstat().st_size
            if size > MAX_BYTES or len(files) >= MAX_FILES:
                raise DeclarationError(
                    f"{folder.name}/ holds more than {MAX_FILES:,} files or {MAX_BYTES >> 20} MiB; "
                    "leave data out of it, and load it from elsewhere"
                )
            files.append((relative, path.read_bytes()))
    return Pack(folder.name, tuple(sorted(files)))


def _refuse(error: OSError) -> None:
    raise error  # a folder that cannot be listed must not be left out in silence


def is_left_out(relative: str) -> bool:
    """Tell whether a folder's file stays out of its versions: tests, hidden files, caches."""
    *directories, name = relative.split("/")
    return (
        any(part in _LEFT_OUT or part.startswith(".") for part in directories)
        or name.startswith(".")
        or name.endswith((".pyc", ".pyo"))
    )
