"""Every process learns of a switch by notification, and of what it missed when its connection is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded import EmbeddedServer
from runtime.authoring.manifest import Problem
from runtime.versions import registry as registering
from runtime.versions.catalog import Catalog
from runtime.versions.registry import CatalogFollower
from tests.versions.conftest import House


async def told(follower: CatalogFollower, condition: Callable[[Catalog], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not condition(follower.catalog):  # noqa: ASYNC110  # seen as any other reader sees it
            await asyncio.sleep(0.005)


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only notifications are left."""
    monkeypatch.setattr(registering, "POLL_S", 3600.0)


@pytest.mark.usefixtures("no_polling")
def test_a_switch_is_seen_within_a_second_by_notification(house: House) -> None:
    """Deploy, quarantine and drop, each told once."""
    house.write("first", "one")
    seen: list[Catalog] = []

    async def scene() -> None:
        follower = CatalogFollower(house.url, seen.append)
        await follower.start()
        assert seen == [Catalog()]
        # a subscription takes a moment; what happens before it stands is read when it does
        await asyncio.to_thread(house.sync)
        await told(follower, lambda catalog: "one" in catalog.functions, 1)
        await asyncio.to_thread(house.registry.quarantine, Problem(folder="first", reason="no"))
        await told(follower, lambda catalog: bool(catalog.problems), 1)
        await asyncio.to_thread(house.registry.drop, "first")
        await told(follower, lambda catalog: not catalog.folders and not catalog.problems, 1)
        await follower.close()

    asyncio.run(scene())
    assert len(seen) == len({id(catalog) for catalog in seen}) == 4


def test_a_switch_without_a_notification_is_seen_by_polling(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that got lost delays, and loses nothing."""
    monkeypatch.setattr(registering, "POLL_S", 0.05)
    house.write("first", "one")

    async def scene() -> None:
        follower = CatalogFollower(house.url)
        await follower.start()
        await asyncio.to_thread(house.sync)
        house.registry._redis.hdel("oncue:folders", "first")  # no message
        await told(follower, lambda catalog: not catalog.folders, 2)
        await follower.close()

    asyncio.run(scene())


def test_a_listener_that_fails_does_not_end_the_following(house: House) -> None:
    """The next change is told all the same."""
    seen: list[int] = []

    def changed(catalog: Catalog) -> None:
        seen.append(len(catalog.folders))
        if len(catalog.folders) == 1:
            raise RuntimeError("the listener failed")

    async def scene() -> None:
        follower = CatalogFollower(house.url, changed)
        await follower.start()
        house.write("first", "one")
        await asyncio.to_thread(house.sync)
        await told(follower, lambda catalog: len(catalog.folders) == 1, 3)
        house.write("second", "two")
        await asyncio.to_thread(house.sync)
        await told(follower, lambda catalog: len(catalog.folders) == 2, 5)
        await follower.close()

    asyncio.run(scene())
    assert seen[-1] == 2


def test_a_follower_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    """It starts while Redis is away, and goes on when Redis comes back."""
    (tmp_path / "place").mkdir()
    with EmbeddedServer(tmp_path / "data") as server:
        house = House(server.url, tmp_path / "place")
        house.write("first", "one")
        house.sync()

        async def scene() -> None:
            server.kill()
            follower = CatalogFollower(house.url)
            await follower.start()
            assert follower.catalog == Catalog()
            server.start()
            await told(follower, lambda catalog: "one" in catalog.functions, 10)
            server.kill()
            server.start()
            house.write("second", "two")
            house.sync()
            await told(follower, lambda catalog: "two" in catalog.functions, 10)
            await follower.close()

        asyncio.run(scene())
        house.registry.close()
