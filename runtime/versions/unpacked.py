"""The versions unpacked on this host: fetched once, used in place, and a bounded number of them kept.

Who uses a version holds a shared lock on its directory for as long as its process lives; what is locked is not removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from runtime.versions.pack import Pack, pack
from runtime.versions.store import VersionGoneError, VersionStore

#: Versions and environments kept unpacked on a host, besides those in use.
MAX_UNPACKED = 100
#: Seconds after which what a killed process was unpacking is removed.
STALE_S = 3600.0


class Versions:
    """The versions below `<data>/versions`, and the folders' own state. Safe to share between threads and processes."""

    def __init__(self, data: Path, store: VersionStore | None = None) -> None:
        self._root = data.absolute() / "versions"
        self._states = data.absolute() / "state"
        self._store = store
        self._shelf = Shelf(self._root)

    def path(self, version: str) -> Path:
        """Return where a version's files are, or would be."""
        return self._root / version

    def state(self, folder: str) -> Path:
        """Return the writable folder that a function folder keeps across versions."""
        return self._states / folder

    def store(self, packed: Pack) -> Path:
        """Unpack a version unless it is there, and return its place; this process uses it from now on."""
        return self._shelf.take(packed.version, packed.unpack)

    def fetch(self, version: str, folder: str) -> Path:
        """Return a version's place, fetching its files from the store when this host has none.

        Raises:
            VersionGoneError: the store has none either.
        """

        def unpack(target: Path) -> None:
            self._read(version, folder).unpack(target)

        return self._shelf.take(version, unpack)

    def pack_of(self, version: str, folder: str) -> Pack:
        """Return a version's files, from this host or the store. Raises as `fetch`."""
        place = self.path(version)
        if place.is_dir():
            return Pack(folder, pack(place).files)
        return self._read(version, folder)

    def let_go(self, version: str | None = None) -> None:
        """Use a version no more, or none at all: each costs a descriptor, and stays on disk, for as long as it is used."""
        self._shelf.let_go(version)

    def sweep(self, *, most: int = MAX_UNPACKED) -> list[str]:
        """Remove the versions that were not used for longest, down to `most`; return their names."""
        return self._shelf.sweep(most)

    def _read(self, version: str, folder: str) -> Pack:
        if self._store is None:
            raise VersionGoneError(f"{folder} at version {version} is not on this host, and no store was given")
        return self._store.get(version, folder)


class Shelf:
    """Directories that are made whole, used under a shared lock, and removed when nobody uses them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return `root/name`, made by `make` unless it is there; it stays until it is let go, or this process ends."""
        target = self._root / name
        while not self._hold(target):
            self._root.mkdir(parents=True, exist_ok=True)
            make(target)
        return target

    def let_go(self, name: str | None = None) -> None:
        """Hold one directory no more, or nothing of what was taken so far."""
        with self._lock:
            for each in [name] if name is not None else list(self._held):
                if (descriptor := self._held.pop(each, None)) is not None:
                    os.close(descriptor)

    def _hold(self, target: Path) -> bool:
        with self._lock:
            held = self._held.get(target.name)
            if held is not None and _is(held, target):
                return True
            try:
                descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if not _is(descriptor, target):  # it was removed between the two
                os.close(descriptor)
                return False
            os.utime(descriptor)
            if held is not None:
                os.close(held)
            self._held[target.name] = descriptor
            return True

    def sweep(self, most: int) -> list[str]:
        """Remove what was not taken for longest and is not in use, down to `most`; return the names."""
        try:
            entries = [entry for entry in self._root.iterdir() if entry.is_dir()]
        except FileNotFoundError:
            return []
        for entry in entries:
            if entry.name.startswith(".") and entry.stat().st_mtime < time.time() - STALE_S:
                shutil.rmtree(entry, ignore_errors=True)
        kept = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.stat().st_mtime, reverse=True)
        return [entry.name for entry in kept[most:] if self._remove(entry)]

    def _remove(self, target: Path) -> bool:
        with contextlib.ExitStack() as stack:
            try:
                descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # in use, or removed by another process
                return False
            trash = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
            target.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
        return True


def _is(descriptor: int, target: Path) -> bool:
    """Tell whether an open directory is (still) the one at `target`."""
    try:
        return os.path.samestat(os.fstat(descriptor), target.stat())
    except FileNotFoundError:
        return False
