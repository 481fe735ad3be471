"""Deploys folders: pack → install → inspect → plan → store → warm → smoke → switch, and back.

A folder that fails a step changes nothing: the pointer of what is served is the last thing that is written, at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.authoring.errors import DeclarationError, OnCueError
from runtime.authoring.manifest import Manifest, Problem
from runtime.ledger.backlog import Backlog
from runtime.versions.adopting import Adoption, find
from runtime.versions.catalog import Candidate, Deployed
from runtime.versions.collecting import Collector
from runtime.versions.environments import Environments
from runtime.versions.history import Action, Origin
from runtime.versions.pack import Pack
from runtime.versions.plan import Files, Plan, clashes, compare, missing_secrets
from runtime.versions.refusals import RefusedError, refused
from runtime.versions.registry import Registry, StaleError
from runtime.versions.staging import Progress, Staged, Staging
from runtime.versions.store import VersionStore
from runtime.versions.syncing import WARM_WITHIN_S, Change, Syncer, SyncReport
from runtime.versions.unpacked import Versions

__all__ = ["Change", "Deployer", "RefusedError", "Report", "SyncReport", "Versions", "Wishes"]

#: Starts a child of a staged version, and runs its smoke events if asked; returns why it cannot serve, or None.
Rehearse = Callable[[Staged, bool], Problem | None]


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a folder is to be deployed."""

    #: change nothing, and tell what would change
    plan_only: bool = False
    #: run the folder's smoke events before the switch
    smoke: bool = False
    #: have what waits on the folder's other versions run on this one, where its data fits
    adopt: bool = False
    #: deploy although a secret has no value
    allow_missing_secrets: bool = False
    #: give it this share of new invocations, 1 to 99; None: all
    percent: int | None = None


AS_USUAL = Wishes()


@dataclass(frozen=True, slots=True)
class Report:
    """What a deploy did, or would do."""

    plan: Plan
    #: False when this version was served already, or only the plan was wanted
    changed: bool
    percent: int | None = None
    #: how many waiting invocations were moved, and (id, reason) of those that do not fit
    adopted: int = 0
    misfits: tuple[tuple[str, str], ...] = ()


class Deployer:
    """Deploys and rolls back from this host. Blocking; safe to share between threads, and to run on many hosts."""

    def __init__(
        self,
        registry: Registry,
        versions: Versions,
        *,
        store: VersionStore | None = None,
        environments: Environments | None = None,
        backlog: Backlog | None = None,
        collector: Collector | None = None,
        rehearse: Rehearse = lambda _staged, _smoke: None,
        secret: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.registry = registry
        self.versions = versions
        self.backlog = backlog
        self._store = store
        self._collector = collector
        self._rehearse = rehearse
        self._secret = secret
        self._staging = Staging(registry, versions, environments, store)
        self._syncer = Syncer(registry, versions, self._staging, store)

    def sync(self, root: Path, *, only: Collection[str] = (), progress: Callable[[str], None] = lambda _: None) -> SyncReport:
        """Serve every folder below `root` as it is on disk, and none that has vanished from it; see `Syncer.sync`."""
        return self._syncer.sync(root, only=only, progress=progress)

    def deploy(self, packed: Pack, origin: Origin, wishes: Wishes = AS_USUAL, progress: Progress = lambda _: None) -> Report:
        """Serve a pack from now on, or tell what that would change.

        Raises:
            RefusedError: a step failed, and nothing has changed.
        """
        self._check(wishes, packed.folder)
        self.versions.let_go()  # what this process has deployed so far
        progress("pack")
        staged = self._staging.stage(packed, progress)
        if isinstance(staged, Problem):
            raise RefusedError("broken-folder", staged)
        catalog = self.registry.catalog()
        current = catalog.folders.get(packed.folder)
        plan = self._plan(staged, current)
        if wishes.plan_only:
            return Report(plan, changed=False, percent=wishes.percent)
        self._check_plan(plan, wishes)
        if wishes.percent is not None and current is None:
            raise refused("invalid-wish", packed.folder, "nothing is deployed to share with; leave --percent out")
        is_known = all(problem.folder != packed.folder for problem in catalog.problems)
        if current is not None and current.version == staged.version and current.candidate is None and is_known:
            # What waits can be adopted afterwards, too: the wish may come late, or a deploy have been killed at the switch.
            return self._adopted(Report(plan, changed=False), staged, self._adoption(staged, wishes))
        if self._store is not None:
            progress("store")
            self._store.put(packed, staged.lock)
        workers = self.registry.announce(packed.folder, staged.version, staged.manifest)
        progress("warm")
        problem = self._rehearse(staged, wishes.smoke)
        self.registry.await_warm(staged.version, 0 if problem else workers, within_s=WARM_WITHIN_S)
        if problem is not None:
            raise RefusedError("not-warm", problem)
        adoption = self._adoption(staged, wishes)
        progress("switch")
        if wishes.percent is not None:
            candidate = Candidate(staged.version, staged.manifest, wishes.percent)
            self._change(packed.folder, lambda served: replace(served, candidate=candidate), "deploy", origin)
        else:
            about = (_now_ms(), origin.who, origin.commit, origin.dirty)
            self._switch(Deployed(packed.folder, staged.version, staged.manifest, *about), "deploy", origin)
        report = self._adopted(Report(plan, changed=True, percent=wishes.percent), staged, adoption)
        self.tidy(packed.folder)
        return report

    def rollback(self, folder: str, version: str | None, origin: Origin) -> Deployed:
        """Serve an earlier version; without one, end the candidate's share, or serve what was live before.

        `version` may be cut short, as long as only one version begins like that.

        Raises:
            RefusedError: there is no such folder or version, or it clashes with what is deployed by now.
        """
        current = self.registry.catalog().folders.get(folder)
        if version is None and current is not None and current.candidate is not None:
            return self._change(folder, lambda served: replace(served, candidate=None), "abandon", origin)
        wanted = self.find(folder, version) if version else self._live_before(folder, current)
        deployed = Deployed(folder, wanted, self.manifest(folder, wanted), _now_ms(), origin.who)
        if current is None or current.version != wanted or current.candidate is not None:
            self._switch(deployed, "rollback", origin)
        return deployed

    def promote(self, folder: str, origin: Origin, *, percent: int | None = None) -> Deployed:
        """Have a folder's candidate serve everything; or `percent` of what comes.

        Raises:
            RefusedError: there is no such folder, it has no candidate, or that clashes with what is deployed by now.
        """
        self._check(Wishes(percent=percent), folder)

        def promoted(served: Deployed) -> Deployed:
            candidate = served.candidate
            if candidate is None:
                raise refused("unknown-version", folder, "no version of it is being rolled out; deploy one with --percent")
            if percent is not None:
                return replace(served, candidate=replace(candidate, percent=percent))
            return Deployed(folder, candidate.version, candidate.manifest, _now_ms(), origin.who)

        return self._change(folder, promoted, "promote", origin)

    def undeploy(self, folder: str, origin: Origin) -> None:
        """Serve nothing of a folder any more; accepted work still runs, and a rollback brings it back.

        Raises:
            RefusedError: nothing of it is deployed.
        """
        catalog = self.registry.catalog()
        if folder not in catalog.folders and all(problem.folder != folder for problem in catalog.problems):
            raise refused("unknown-folder", folder, "nothing of it is deployed")
        self.registry.drop(folder, origin.who)

    def find(self, folder: str, version: str) -> str:
        """Return the whole name of a version of a folder.

        Raises:
            RefusedError: none begins like that, or more than one.
        """
        found = [known for known in self.registry.versions(folder) if known.startswith(version)]
        if len(found) != 1:
            many = f"{len(found)} of its versions begin with {version!r}; say more of it"
            raise refused("unknown-version", folder, many if found else f"it has no version {version!r} (any more)")
        return found[0]

    def manifest(self, folder: str, version: str) -> Manifest:
        """Return the manifest of a version.

        Raises:
            RefusedError: there is no such version any more.
        """
        try:
            return self.registry.manifest(version)
        except KeyError as error:
            raise refused("unknown-version", folder, f"version {version} has been collected") from error

    def tidy(self, folder: str) -> list[str]:
        """Forget versions that nothing needs any more, everywhere, and what was unpacked and not used for long, here."""
        self.versions.sweep()
        self._staging.sweep()
        return self._collector.collect(folder) if self._collector is not None else []

    def _plan(self, staged: Staged, current: Deployed | None) -> Plan:
        folder = staged.packed.folder
        before = None
        if current is not None:
            try:
                before = self.versions.pack_of(current.version, folder)
            except OnCueError:
                before = None  # its files are gone; all of the new ones are then "added"
        functions, triggers = compare(current.manifest if current else None, staged.manifest)
        return Plan(
            folder=folder,
            version=staged.version,
            before=current.version if current else None,
            manifest=staged.manifest,
            files=Files.of(before, staged.packed),
            functions=functions,
            triggers=triggers,
            missing_secrets=missing_secrets(staged.manifest, self._secret),
            clashes=clashes(self.registry.catalog(), staged.manifest),
        )

    def _check(self, wishes: Wishes, folder: str) -> None:
        if wishes.percent is not None and not 1 <= wishes.percent <= 99:
            raise refused("invalid-wish", folder, f"a share is 1 to 99 percent, not {wishes.percent}; leave it out for all")
        if wishes.percent is not None and wishes.adopt:
            raise refused("invalid-wish", folder, "what waits is adopted by a version that serves everything; promote it first")

    def _check_plan(self, plan: Plan, wishes: Wishes) -> None:
        for clash in plan.clashes:
            raise RefusedError("clash", Problem(folder=plan.folder, file=clash.file, line=clash.line, reason=clash.message))
        if plan.missing_secrets and not wishes.allow_missing_secrets:
            names = ", ".join(f"ONCUE_SECRET_{name} ({function})" for name, function in plan.missing_secrets)
            raise refused("missing-secrets", plan.folder, f"it cannot work without {names}; set it, or --allow-missing-secrets")

    def _adoption(self, staged: Staged, wishes: Wishes) -> Adoption:
        if self.backlog is None or not wishes.adopt:
            return Adoption()
        of = self.registry.versions(staged.packed.folder)
        return find(self.backlog, staged.manifest, staged.version, of.keys())

    def _adopted(self, report: Report, staged: Staged, adoption: Adoption) -> Report:
        adopted = self.backlog.adopt(staged.version, adoption.fitting) if self.backlog is not None else 0
        return replace(report, adopted=adopted, misfits=tuple(adoption.misfits))

    def _change(self, folder: str, change: Callable[[Deployed], Deployed], action: Action, origin: Origin) -> Deployed:
        """Switch to what `change` makes of what the folder serves, at that very moment; return that."""
        while True:
            served = self.registry.catalog().folders.get(folder)
            if served is None:
                raise refused("unknown-folder", folder, "nothing of it is deployed")
            with contextlib.suppress(StaleError):  # else another deploy that has just ended would be undone
                changed = change(served)
                self._switch(changed, action, origin, of=served)
                return changed

    def _switch(self, deployed: Deployed, action: Action, origin: Origin, *, of: Deployed | None = None) -> None:
        folder = deployed.folder
        try:
            self.registry.switch(deployed, action=action, by=origin, check=True, of=of)
        except DeclarationError as error:
            raise RefusedError(
                "clash", Problem(folder=folder, file=error.file, line=error.line, reason=error.message)
            ) from error
        except KeyError as error:
            raise refused("unknown-version", folder, f"version {deployed.version} has been collected") from error

    def _live_before(self, folder: str, current: Deployed | None) -> str:
        kept = self.registry.versions(folder)
        for entry in self.registry.history(folder):
            if entry.went_live and entry.version in kept and (current is None or entry.version != current.version):
                return entry.version
        reason = "no other version of it was ever live" if kept else "nothing of it was ever deployed"
        raise refused("unknown-version" if kept else "unknown-folder", folder, reason)


def _now_ms() -> int:
    return int(time.time() * 1000)
