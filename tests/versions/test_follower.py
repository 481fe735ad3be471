"""Every process learns of a switch by notification, and of what it missed when its connection is back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from infra.embedded import EmbeddedServer
from runtime.authoring.manifest import Problem
from runtime.ledger import following as ledger_following
from runtime.ledger.following import Follower
from runtime.versions import following
from runtime.versions.catalog import Catalog
from runtime.versions.following import CatalogFollower
from tests.versions.conftest import House


async def told(follower: CatalogFollower, condition: Callable[[Catalog], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not condition(follower.catalog):  # noqa: ASYNC110  # seen as any other reader sees it
            await asyncio.sleep(0.005)


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only notifications are left."""
    monkeypatch.setattr(following, "POLL_S", 3600.0)


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
    monkeypatch.setattr(following, "POLL_S", 0.05)
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
    """The change is told again, and the next one as well."""
    seen: list[int] = []

    def changed(catalog: Catalog) -> None:
        seen.append(len(catalog.folders))
        if seen.count(1) == 1 and seen[-1] == 1:
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
    assert seen == [0, 1, 1, 2]


def test_a_series_of_failures_is_told_once(redis_url: str) -> None:
    """A defect is logged, and is not logged again while it lasts; after a success it would be."""
    outcomes = iter([ValueError("one"), ValueError("two"), None, ValueError("three")])

    async def scene() -> None:
        ended = asyncio.Event()

        async def refresh() -> None:
            try:
                outcome = next(outcomes)
            except StopIteration:
                ended.set()
                return
            if outcome is not None:
                raise outcome

        follower = Follower(redis_url, "channel", refresh, poll_s=0.01)
        follower.start()
        await asyncio.wait_for(ended.wait(), 10)
        await follower.close()

    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(ledger_following, "AGAIN_S", 0.01)
        asyncio.run(scene())
    assert [str(line["exc_info"]) for line in logs] == ["one", "three"]


def test_who_asks_for_a_refresh_meets_what_is_deployed(house: House) -> None:
    """A look that began before a deploy cannot put back what was there before."""
    seen: list[int] = []
    looked, deployed = threading.Event(), threading.Event()

    async def scene() -> None:
        follower = CatalogFollower(house.url, lambda catalog: seen.append(len(catalog.folders)))
        look = follower._registry.catalog

        def slow() -> Catalog:
            catalog = look()
            if not looked.is_set():
                looked.set()
                assert deployed.wait(10)
            return catalog

        follower._registry.catalog = slow  # type: ignore[method-assign]  # the same, and the first takes its time
        earlier = asyncio.create_task(follower.refresh())
        assert await asyncio.to_thread(looked.wait, 10)
        house.write("first", "one")
        await asyncio.to_thread(house.sync)
        later = asyncio.create_task(follower.refresh())
        await asyncio.wait((later,), timeout=0.2)  # it could overtake the earlier one now
        deployed.set()
        await asyncio.gather(earlier, later)
        assert "one" in follower.catalog.functions
        await follower.close()

    asyncio.run(scene())
    assert seen == [0, 1]


def test_closing_can_be_cancelled(redis_url: str) -> None:
    """Whoever is cancelled while it waits for the last refresh is cancelled, and does not go on as if all had ended."""

    async def scene() -> None:
        begun, lets_go = asyncio.Event(), asyncio.Event()

        async def refresh() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await lets_go.wait()
                raise

        follower = Follower(redis_url, "channel", refresh, poll_s=1)
        follower.start()
        await begun.wait()
        closing = asyncio.create_task(follower.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        lets_go.set()
        await follower.close()

    asyncio.run(scene())


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
