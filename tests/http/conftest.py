"""The edge on a real uvicorn over a real Valkey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.http.serving import ImpatientProtocol, Web
from triggers.http.access.guard import Policy
from triggers.http.protocol import GuardedProtocol


@pytest.fixture
def start_web(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """`start_web(redis_url, …)` runs an edge until the test ends."""
    started: list[Web] = []

    def start(
        redis_url: str,
        protocol: type[GuardedProtocol] = GuardedProtocol,
        secrets: dict[str, str] | None = None,
        policy: Policy | None = None,
        callbacks: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    ) -> Web:
        web = Web(redis_url, tmp_path, protocol, secrets or {}, policy, callbacks)
        started.append(web)
        web.start()
        return web

    yield start
    for web in started:
        web.stop()


@pytest.fixture
def web(start_web: Callable[..., Web], redis_url: str) -> Web:
    """An edge over the shared server."""
    return start_web(redis_url)


@pytest.fixture
def impatient_web(start_web: Callable[..., Web], redis_url: str) -> Web:
    """An edge with short deadlines."""
    return start_web(redis_url, ImpatientProtocol)
