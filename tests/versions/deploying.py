"""What the tests of deploying share: a deployer with all its parts, folders to give it, and archives of any shape."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from runtime.authoring.manifest import Problem
from runtime.execution.rehearsal import rehearse
from runtime.ledger.backlog import Backlog
from runtime.ledger.store import ObjectStore
from runtime.versions.collecting import Collector
from runtime.versions.deployer import Deployer, Report, Wishes
from runtime.versions.environments import Environments
from runtime.versions.history import Origin
from runtime.versions.pack import pack
from runtime.versions.registry import Registry
from runtime.versions.staging import Staged
from runtime.versions.store import VersionStore
from runtime.versions.unpacked import Versions

ADA = Origin("ada", "9f2c", dirty=True)


class Host:
    """One host: its data folder and its deployer. Several share one Redis and one object store."""

    def __init__(self, url: str, place: Path, *, shared: Path | None = None, inline_bytes: int = 2**20, keep: int = 10) -> None:
        self.place = place
        self.secrets: dict[str, str] = {}
        self.registry = Registry(url)
        self.store = VersionStore(url, ObjectStore(f"file://{shared or place / 'store'}"), inline_bytes=inline_bytes)
        self.versions = Versions(place / "data", self.store)
        self.environments = Environments(place / "data")
        self.backlog = Backlog(url)
        self.collector = Collector(self.registry, self.store, self.backlog, keep=keep, grace_s=0)
        self.deployer = Deployer(
            self.registry,
            self.versions,
            store=self.store,
            environments=self.environments,
            backlog=self.backlog,
            collector=self.collector,
            rehearse=self._rehearse,
            secret=self.secrets.get,
        )

    def _rehearse(self, staged: Staged, smoke: bool) -> Problem | None:
        state_dir = self.versions.state(staged.manifest.folder)
        return rehearse(
            staged.place, staged.manifest, python=staged.python, state_dir=state_dir, secret=self.secrets.get, smoke=smoke
        )

    def folder(self, name: str, source: str, **more: str) -> Path:
        """A function folder with `source` as its `__init__.py`, and `more` files: requirements_txt="six" and the like."""
        folder = self.place / "folders" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text(textwrap.dedent(source))
        for file, text in more.items():
            path = folder / file.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return folder

    def deploy(self, folder: Path, steps: Callable[[str], None] = lambda _: None, **wishes: object) -> Report:
        return self.deployer.deploy(pack(folder), ADA, Wishes(**wishes), steps)  # type: ignore[arg-type]

    def live(self, folder: str) -> str | None:
        """The version that the folder serves."""
        deployed = self.registry.catalog().folders.get(folder)
        return deployed.version if deployed else None

    def close(self) -> None:
        for each in (self.registry, self.store, self.backlog):
            each.close()


def greeting(word: str, *, parameter: str = "name: str = 'x'", more: str = "") -> str:
    """The source of a folder whose function `greet` says `word`."""
    return f"from runtime import *\n@http('POST /greet')\ndef greet({parameter}) -> str:\n    return '{word}'\n{textwrap.dedent(more)}\n"
