"""Deploys what is in the functions folder, and says what is served: one JSON line on stdout.

{"kind": "catalog", "folders": {"thumbnail": {"version": "5c1…", "functions": [{"name": …, "summary": …, …}]}},
 "problems": [{"folder": "broken", "file": "__init__.py", "line": 3, "reason": "…"}]}

It runs as a short-lived process of its own: what it needs is given back, and the supervisor stays small and prompt. For
`oncue dev` it stays and watches, since its start would take half of the second in which a save is to be served.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

import msgspec
from redis.exceptions import RedisError

from infra.announcing import TOLD
from infra.settings import Settings, secret
from infra.watching import FolderWatch
from runtime.authoring.errors import OnCueError
from runtime.authoring.manifest import Problem
from runtime.execution.rehearsal import rehearse
from runtime.ledger.backlog import Backlog
from runtime.ledger.store import ObjectStore
from runtime.versions.collecting import Collector
from runtime.versions.deployer import Deployer
from runtime.versions.environments import Environments
from runtime.versions.registry import Registry
from runtime.versions.staging import Staged
from runtime.versions.store import VersionStore
from runtime.versions.unpacked import Versions

#: Seconds between two looks at folders that somebody works on.
WATCH_S = 0.1


class DeployingError(OnCueError):
    """Nothing can be deployed now."""


@contextlib.contextmanager
def deployer(settings: Settings) -> Iterator[Deployer]:
    """Put together what deploys from this host.

    Raises:
        SettingsError: no Redis is configured.
    """
    url = settings.ledger_url
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(contextlib.closing(Registry(url)))
        store = stack.enter_context(contextlib.closing(VersionStore(url, ObjectStore(settings.store_url))))
        backlog = stack.enter_context(contextlib.closing(Backlog(url)))
        versions = Versions(settings.data, store)

        def warm(staged: Staged, smoke: bool) -> Problem | None:
            state_dir = versions.state(staged.manifest.folder)
            return rehearse(
                staged.place, staged.manifest, python=staged.python, state_dir=state_dir, secret=secret, smoke=smoke
            )

        yield Deployer(
            registry,
            versions,
            store=store,
            environments=Environments(settings.data),
            backlog=backlog,
            collector=Collector(registry, store, backlog),
            rehearse=warm,
            secret=secret,
        )


def main(settings: Settings) -> None:
    """Deploy every changed folder, drop the vanished ones, and print the catalog.

    Raises:
        DeployingError: Redis does not take it.
    """
    with _redis_at_hand(), deployer(settings) as deploys:
        _sync(deploys, settings, ())


def watch(settings: Settings, folders: Sequence[str]) -> None:
    """Do the same whenever something has changed, for as long as the process lives: a save is served within a second.

    `folders`: only these of the functions folder, by name. Raises as `main`.
    """
    places = [settings.functions / name for name in folders] or [settings.functions]
    watches = [FolderWatch(place, interval_s=WATCH_S) for place in places]
    with _redis_at_hand(), deployer(settings) as deploys:
        while True:
            _sync(deploys, settings, folders)
            while not any(each.has_changed() for each in watches):
                time.sleep(WATCH_S / 2)


def _sync(deploys: Deployer, settings: Settings, only: Sequence[str]) -> None:
    report = deploys.sync(settings.functions, only=only)
    catalog = deploys.registry.catalog()
    folders = {
        name: {
            "version": deployed.version,
            "functions": [function.model_dump(mode="json", include=TOLD) for function in deployed.manifest.functions],
        }
        for name, deployed in catalog.folders.items()
    }
    problems = [problem.model_dump(mode="json") for problem in catalog.problems]
    document = {"kind": "catalog", "folders": folders, "problems": problems}
    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
    sys.stdout.flush()
    for change in report.changes:
        deploys.tidy(change.folder)


@contextlib.contextmanager
def _redis_at_hand() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise DeployingError(f"the functions cannot be deployed, since Redis does not take them: {error}") from error
