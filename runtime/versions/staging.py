"""The steps of a deploy that change nothing: a pack is unpacked, its requirements installed, and it is inspected."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.authoring.errors import DeclarationError
from runtime.authoring.inspection import inspect
from runtime.authoring.manifest import Manifest, Problem
from runtime.versions.environments import Environments
from runtime.versions.pack import Pack
from runtime.versions.registry import Registry
from runtime.versions.store import VersionStore
from runtime.versions.unpacked import Versions

#: Told of each step as it begins: pack, install, inspect, store, warm, smoke, switch.
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Staged:
    """A version that is ready on this host."""

    packed: Pack
    version: str
    place: Path
    #: the interpreter that runs it
    python: str
    #: its pinned requirements; empty: it needs nothing that is not here
    lock: str
    manifest: Manifest


class Staging:
    """Makes packs ready. Blocking; safe to share between threads."""

    def __init__(
        self,
        registry: Registry,
        versions: Versions,
        environments: Environments | None = None,
        store: VersionStore | None = None,
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._environments = environments
        self._store = store

    def stage(self, packed: Pack, progress: Progress) -> Staged | Problem:
        """Return the version, ready to be warmed; or the problem that it has.

        Raises:
            OSError: this host cannot make it ready: its disk is full, and the like.
        """
        version = packed.version
        place = self._versions.store(packed)
        lock, python = "", sys.executable
        if self._environments is not None:
            progress("install")
            try:
                # A version is pinned once: deployed again, it is what it was.
                lock = (self._store.lock(version) if self._store else "") or self._environments.lock(place)
                python = self._environments.python(place, lock)
            except DeclarationError as error:
                return Problem(folder=packed.folder, file=error.file, reason=str(error))
        try:
            manifest: Manifest | Problem = self._registry.manifest(version)
        except KeyError:
            progress("inspect")
            manifest = inspect(place, name=packed.folder, python=python)
        if isinstance(manifest, Problem):
            return manifest
        return Staged(packed, version, place, python, lock, manifest)

    def sweep(self) -> None:
        """Remove environments that were not used for long."""
        if self._environments is not None:
            self._environments.sweep()
