"""A folder of folders, and a deployer over it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.versions.deployer import Deployer, SyncReport, Versions
from runtime.versions.registry import Registry


class House:
    """Folders on disk under `root`, and what the registry makes of them."""

    def __init__(self, url: str, place: Path) -> None:
        self.url, self.root = url, place / "functions"
        self.root.mkdir()
        self.registry = Registry(url)
        self.versions = Versions(place / "data")
        self.deployer = Deployer(self.registry, self.versions)

    def write(self, name: str, *functions: str, code: str = "") -> Path:
        """A folder with a handler for each name; "POST /x" makes one with a route."""
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        lines = ["from runtime import function, http"]
        for one in functions:
            handler, _, route = one.partition(" ")
            lines.append(f"@http({route!r})" if route else "@function")
            lines.append(f"def {handler}(a: str = '', b: str = ''): ...")
        (folder / "__init__.py").write_text("\n".join([*lines, textwrap.dedent(code)]))
        return folder

    def sync(self, progress: Callable[[str], None] = lambda _: None) -> SyncReport:
        return self.deployer.sync(self.root, progress=progress)

    def changed(self) -> dict[str, str | None]:
        """Sync, and return folder -> new version (None: gone)."""
        return {change.folder: change.deployed.version if change.deployed else None for change in self.sync().changes}

    def served(self) -> dict[str, str]:
        """Function -> folder, as every process sees it."""
        return {name: function.folder for name, function in self.registry.catalog().functions.items()}

    def served_version(self, folder: str) -> str:
        return self.registry.catalog().folders[folder].version

    def problems(self) -> dict[str, str]:
        """Folder -> what is wrong with it, as recorded."""
        return {problem.folder: str(problem) for problem in self.registry.catalog().problems}


@pytest.fixture
def house(redis_url: str, tmp_path: Path) -> Iterator[House]:
    house = House(redis_url, tmp_path)
    yield house
    house.registry.close()


@pytest.fixture
def flush(redis_url: str, house: House) -> Callable[[], None]:
    """Forget everything: in Redis, and in the registry's own memory."""

    def now() -> None:
        house.registry._redis.flushall()
        house.registry._manifests.clear()

    return now
