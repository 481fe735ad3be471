"""Deployments with workers over them; at the end of each test every part has stopped and nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.embedded import EmbeddedServer
from runtime.execution.processes import adopt_orphans
from tests.carriers.rig import Deployment, Rig


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of this test's own, for it to kill."""
    with EmbeddedServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """`deploy(url, code, lease_s=…)` deploys one folder."""
    made: list[Deployment] = []

    def make(url: str, code: str, **options: Any) -> Deployment:
        made.append(Deployment(url, tmp_path, code, **options))
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()


@pytest.fixture
def work(deploy: Callable[..., Deployment]) -> Iterator[Callable[..., Rig]]:
    """`work(deployment, threads=…)` runs a worker until the test ends, or it is stopped."""
    adopt_orphans()  # as a worker does
    made: list[Rig] = []

    def make(deployment: Deployment, **options: Any) -> Rig:
        made.append(Rig(deployment, **options))
        return made[-1]

    yield make
    for rig in made:
        rig.stop()
    for rig in made:
        assert [thread.name for thread in rig.threads() if thread.is_alive()] == []
