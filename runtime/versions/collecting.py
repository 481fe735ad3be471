"""Forgets versions that nothing needs: beyond the newest of a folder, not live of late, without open work or dead letters."""

from __future__ import annotations

from collections import Counter

from runtime.ledger.backlog import Backlog
from runtime.versions.pointers import live_versions
from runtime.versions.registry import Registry
from runtime.versions.store import VersionStore

#: Versions of a folder that are always kept.
KEEP = 10
#: Seconds that a version is kept after it was last live: a process that has not heard of the switch may still accept for it.
GRACE_S = 600.0


class Collector:
    """Collects the versions of folders. Blocking."""

    def __init__(
        self, registry: Registry, store: VersionStore, backlog: Backlog, *, keep: int = KEEP, grace_s: float = GRACE_S
    ):
        self._registry = registry
        self._store = store
        self._backlog = backlog
        self._keep = keep
        self._grace_s = grace_s

    def collect(self, folder: str) -> list[str]:
        """Forget what can be forgotten of a folder; return those versions."""
        deployed = self._registry.catalog().folders.get(folder)
        live = live_versions(deployed) if deployed else []
        kept = self._registry.versions(folder)
        limit_ms = self._registry.now_ms() - self._grace_s * 1000
        old = [version for version in list(kept)[self._keep :] if version not in live and kept[version] < limit_ms]
        if not old:
            return []  # as nearly always: nothing is scanned
        wanted = {found.version for found in self._backlog.open_work()}
        gone = self._registry.forget(folder, {version: kept[version] for version in old if version not in wanted})
        self._store.delete(gone)
        self._backlog.forget_outcomes(gone)
        return gone


def count_work(backlog: Backlog) -> tuple[Counter[str], Counter[str]]:
    """Return how many open invocations, and how many dead letters, each version has."""
    open_ids: dict[str, set[str]] = {}
    dead: Counter[str] = Counter()
    for found in backlog.open_work(thorough=False):
        if found.status == "dead":
            dead[found.version] += 1
        else:
            open_ids.setdefault(found.version, set()).add(found.id)
    return Counter({version: len(ids) for version, ids in open_ids.items()}), dead
