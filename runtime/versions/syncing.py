"""Serves the folders below a folder as they are on disk: what `oncue up` does whenever something there has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from runtime.authoring.errors import DeclarationError
from runtime.authoring.manifest import Problem
from runtime.versions.catalog import Catalog, Deployed
from runtime.versions.pack import pack
from runtime.versions.registry import Registry
from runtime.versions.staging import Staging
from runtime.versions.store import VersionStore
from runtime.versions.unpacked import Versions

#: Inspections at one time, each a process of its own.
INSPECTIONS = 2
#: Seconds that the workers have to warm a version; one that takes longer meets its first invocation with a cold start.
WARM_WITHIN_S = 3.0


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


class Syncer:
    """Looks at folders of folders. What a person did to a folder by other means holds until its content changes."""

    def __init__(self, registry: Registry, versions: Versions, staging: Staging, store: VersionStore | None) -> None:
        self._registry = registry
        self._versions = versions
        self._staging = staging
        self._store = store

    def sync(self, root: Path, *, only: Collection[str] = (), progress: Callable[[str], None] = lambda _: None) -> SyncReport:
        """Serve every folder below `root` as it is on disk, and none that has vanished from it.

        `only`: look at these alone, by name. A broken folder is quarantined with its problem; what it served before goes on.
        """
        who = f"folder {root.absolute()}"
        self._versions.let_go()
        catalog = self._registry.catalog()
        known = {problem.folder: problem for problem in catalog.problems}
        synced = self._registry.synced(root)
        entries = [entry for entry in _entries(root) if not only or entry.name in only]
        inspected = self._inspect_changed([e for e in entries if e.is_dir()], catalog, known, synced, progress)
        report = SyncReport()
        present = {entry.name for entry in entries}
        vanished = {*catalog.folders, *known} - present
        for name in sorted(vanished & set(only) if only else vanished):
            deployed = catalog.folders.get(name)
            if deployed is None or deployed.who == who or name in synced:
                self._registry.drop(name)
                report.changes.append(Change(name, None))
        for name in synced.keys() - present if not only else ():
            self._registry.note_synced(root, name, None)
        serving = {
            name: deployed
            for name, deployed in catalog.folders.items()
            if (name in present or (only and name not in only) or (deployed.who != who and name not in synced))
            and not isinstance(inspected.get(name), Deployed)
        }
        strays = [
            Problem(
                folder=entry.name,
                reason=f"{entry.name} is a file; a function lives in a folder of its own: {entry.stem}/__init__.py",
            )
            for entry in entries
            if entry.is_file()
        ]
        outcomes = [*strays, *_unclashing(inspected, serving, catalog)]
        pending = {outcome.folder for outcome in outcomes}
        for outcome in outcomes:
            pending.discard(outcome.folder)
            problem = outcome if isinstance(outcome, Problem) else None
            before = catalog.folders.get(outcome.folder)
            if isinstance(outcome, Deployed) and (
                before is None or before.version != outcome.version or before.candidate or outcome.folder in known
            ):
                problem = self._serve(outcome, pending)
                if problem is None:
                    report.changes.append(Change(outcome.folder, outcome))
            if isinstance(outcome, Deployed) and problem is None:
                self._registry.note_synced(root, outcome.folder, outcome.version)
            if problem is not None:
                report.problems.append(problem)
                if known.get(problem.folder) != problem:
                    self._registry.quarantine(problem)
        return report

    def _serve(self, deployed: Deployed, pending: Collection[str]) -> Problem | None:
        """Switch to what was found to clash with nothing; a deploy by other means may have come before it."""
        workers = self._registry.announce(deployed.folder, deployed.version, deployed.manifest)
        self._registry.await_warm(deployed.version, workers, within_s=WARM_WITHIN_S)
        try:
            self._registry.switch(deployed, check=True, besides=pending)
        except DeclarationError as error:
            return Problem(folder=deployed.folder, file=error.file, line=error.line, reason=error.message)
        return None

    def _inspect_changed(
        self,
        folders: Iterable[Path],
        catalog: Catalog,
        known: dict[str, Problem],
        synced: dict[str, str],
        progress: Callable[[str], None],
    ) -> dict[str, Deployed | Problem]:
        """Inspect what has changed on disk; in parallel, since each inspection is a process."""

        def look(folder: Path) -> Deployed | Problem | None:
            packed = pack(folder)
            version = packed.version
            current = catalog.folders.get(folder.name)
            is_served = current is not None and current.version == version and self._versions.path(version).is_dir()
            # As it was when it was last looked at: a rollback since then is somebody's wish.
            is_known = synced.get(folder.name) == version and (current is None or current.version != version)
            if folder.name not in known and (is_served or is_known):
                return None
            staged = self._staging.stage(packed, lambda step: progress(folder.name) if step == "inspect" else None)
            if isinstance(staged, Problem):
                return staged
            if self._store is not None:
                self._store.put(packed, staged.lock)
            return Deployed(
                folder.name, version, staged.manifest, int(time.time() * 1000), f"folder {folder.parent.absolute()}"
            )

        def outcome_of(folder: Path) -> Deployed | Problem | None:
            try:
                return look(folder)
            except (DeclarationError, OSError) as error:
                return Problem(folder=folder.name, file=getattr(error, "file", None), reason=str(error))

        with ThreadPoolExecutor(INSPECTIONS) as threads:
            outcomes = threads.map(outcome_of, folders)
            return {outcome.folder: outcome for outcome in outcomes if outcome is not None}


def _unclashing(
    outcomes: dict[str, Deployed | Problem], serving: dict[str, Deployed], catalog: Catalog
) -> list[Deployed | Problem]:
    """Return the outcomes in order of name, those that clash as the problem that they have.

    Whoever is refused goes on with what it served before, which others may have counted on being given up: so each
    refusal has the rest looked at anew.
    """
    refused: dict[str, Problem] = {}
    while True:
        taken = serving | {name: catalog.folders[name] for name in refused if name in catalog.folders}
        for name in sorted(outcomes.keys() - refused.keys()):
            outcome = outcomes[name]
            if isinstance(outcome, Problem):
                continue
            try:
                Catalog(taken).check(outcome.manifest)
            except DeclarationError as error:
                refused[name] = Problem(folder=name, file=error.file, line=error.line, reason=error.message)
                break
            taken[name] = outcome
        else:
            return [refused.get(name, outcomes[name]) for name in sorted(outcomes)]


def _entries(root: Path) -> Sequence[Path]:
    if not root.is_dir():
        return ()
    found = (entry for entry in root.iterdir() if not entry.name.startswith((".", "_")))
    return sorted(entry for entry in found if entry.is_dir() or entry.suffix == ".py")
