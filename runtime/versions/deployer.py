"""Deploys folders: pack, inspect, store, check for clashes, switch. A folder that fails a step changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from runtime.authoring.errors import DeclarationError
from runtime.authoring.inspection import inspect
from runtime.authoring.manifest import Manifest, Problem
from runtime.versions.catalog import Catalog, Deployed
from runtime.versions.pack import Pack, pack
from runtime.versions.registry import Registry

#: Inspections at one time, each a process of its own.
INSPECTIONS = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One folder that is served differently from now on: the new version, or None when it is gone."""

    folder: str
    deployed: Deployed | None


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What one look at a folder of folders brought."""

    changes: list[Change] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class Versions:
    """The versions unpacked on this host, below `<data>/versions`, and the folders' own state."""

    def __init__(self, data: Path) -> None:
        self._root = data.absolute() / "versions"
        self._states = data.absolute() / "state"

    def path(self, version: str) -> Path:
        """Return where a version's files are."""
        return self._root / version

    def state(self, folder: str) -> Path:
        """Return the writable folder that a function folder keeps across versions."""
        return self._states / folder

    def store(self, packed: Pack) -> Path:
        """Unpack a version unless it is there, and return its place."""
        target = self.path(packed.version)
        if not target.is_dir():
            self._root.mkdir(parents=True, exist_ok=True)
            packed.unpack(target)
        return target


class Deployer:
    """Deploys from this host's disk."""

    def __init__(self, registry: Registry, versions: Versions) -> None:
        self._registry = registry
        self._versions = versions

    def sync(self, root: Path, *, progress: Callable[[str], None] = lambda _: None) -> SyncReport:
        """Serve every folder below `root` as it is on disk, and none that has vanished from it.

        A broken folder is quarantined with its problem; what it served before goes on.
        """
        who = f"folder {root.absolute()}"
        catalog = self._registry.catalog()
        known = {problem.folder: problem for problem in catalog.problems}
        inspected = self._inspect_changed(_folders(root), catalog, known, progress)
        report = SyncReport()
        present = {entry.name for entry in _entries(root)}
        for name in sorted({*catalog.folders, *known} - present):
            deployed = catalog.folders.get(name)
            if deployed is None or deployed.who == who:
                self._registry.drop(name)
                report.changes.append(Change(name, None))
        serving = {
            name: deployed
            for name, deployed in catalog.folders.items()
            if (name in present or deployed.who != who) and not isinstance(inspected.get(name), Deployed)
        }
        strays = [
            Problem(
                folder=entry.name,
                reason=f"{entry.name} is a file; a function lives in a folder of its own: {entry.stem}/__init__.py",
            )
            for entry in _entries(root)
            if entry.is_file()
        ]
        for outcome in (*strays, *(inspected[name] for name in sorted(inspected))):
            if isinstance(outcome, Deployed):
                try:
                    Catalog(serving).check(outcome.manifest)
                except DeclarationError as error:
                    outcome = Problem(
                        folder=outcome.folder, file=error.file, line=error.line, reason=error.message
                    )  # it became one
                    before = catalog.folders.get(outcome.folder)
                    if before is not None:
                        serving[outcome.folder] = before
            if isinstance(outcome, Problem):
                report.problems.append(outcome)
                if known.get(outcome.folder) != outcome:
                    self._registry.quarantine(outcome)
                continue
            serving[outcome.folder] = outcome
            before = catalog.folders.get(outcome.folder)
            if before is None or before.version != outcome.version or outcome.folder in known:
                self._registry.switch(outcome)
                report.changes.append(Change(outcome.folder, outcome))
        return report

    def _inspect_changed(
        self, folders: Iterable[Path], catalog: Catalog, known: dict[str, Problem], progress: Callable[[str], None]
    ) -> dict[str, Deployed | Problem]:
        """Inspect what is not served as it is on disk; in parallel, since each inspection is a process."""

        def look(folder: Path) -> Deployed | Problem | None:
            try:
                packed = pack(folder)
            except (DeclarationError, OSError) as error:
                return Problem(folder=folder.name, file=getattr(error, "file", None), reason=str(error))
            current = catalog.folders.get(folder.name)
            stored = self._versions.path(packed.version).is_dir()
            if current is not None and current.version == packed.version and stored and folder.name not in known:
                return None
            manifest = self._manifest(packed, progress)
            if isinstance(manifest, Problem):
                return manifest
            return Deployed(
                folder.name, packed.version, manifest, int(time.time() * 1000), f"folder {folder.parent.absolute()}"
            )

        with ThreadPoolExecutor(INSPECTIONS) as threads:
            outcomes = threads.map(look, folders)
            return {outcome.folder: outcome for outcome in outcomes if outcome is not None}

    def _manifest(self, packed: Pack, progress: Callable[[str], None]) -> Manifest | Problem:
        try:
            known = self._registry.manifest(packed.version)
        except KeyError:
            pass
        else:
            self._versions.store(packed)
            return known
        progress(packed.folder)
        place = self._versions.store(packed)
        return inspect(place, name=packed.folder)


def _entries(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    found = (entry for entry in root.iterdir() if not entry.name.startswith((".", "_")))
    return sorted(entry for entry in found if entry.is_dir() or entry.suffix == ".py")


def _folders(root: Path) -> list[Path]:
    return [entry for entry in _entries(root) if entry.is_dir()]
