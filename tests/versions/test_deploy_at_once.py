"""Two that change what is served at one time, on one host or on several: neither undoes the other, nothing is half there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.ledger.backlog import Found
from runtime.versions.collecting import Collector
from runtime.versions.deployer import RefusedError
from tests.versions.conftest import House
from tests.versions.deploying import ADA, Host, greeting


@pytest.fixture
def hosts(redis_url: str, tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts over one Redis and one object store."""
    one, other = (Host(redis_url, tmp_path / name, shared=tmp_path / "store") for name in ("one", "other"))
    yield one, other
    one.close()
    other.close()


def at(step: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Progress that does something else at one step."""

    def progress(reached: str) -> None:
        if reached == step:
            act()

    return progress


def test_a_share_is_given_beside_what_is_served_by_then(hosts: tuple[Host, Host]) -> None:
    """A deploy that ends while another one warms its share stays live."""
    one, other = hosts
    one.deploy(one.folder("hello", greeting("old")))
    newest = other.folder("hello", greeting("newest"))
    share = one.folder("hello", greeting("share"))
    version = one.deploy(share, at("warm", lambda: other.deploy(newest)), percent=10).plan.version
    deployed = one.registry.catalog().folders["hello"]
    assert deployed.version == other.live("hello") == other.deploy(newest, plan_only=True).plan.version
    assert deployed.candidate is not None
    assert (deployed.candidate.version, deployed.candidate.percent) == (version, 10)


def test_no_share_of_what_is_undeployed_meanwhile(hosts: tuple[Host, Host]) -> None:
    """It stays undeployed."""
    one, other = hosts
    one.deploy(one.folder("hello", greeting("old")))
    share = one.folder("hello", greeting("share"))
    with pytest.raises(RefusedError, match="nothing of it is deployed"):
        one.deploy(share, at("warm", lambda: other.deployer.undeploy("hello", ADA)), percent=10)
    assert one.live("hello") is None


def test_a_version_deployed_again_keeps_its_pins(hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the package index has by then: a version never changes, and no host asks the index a second time."""
    one, other = hosts
    for n, host in enumerate(hosts):
        monkeypatch.setattr(host.environments, "lock", lambda _place, n=n: f"six==1.{n}")
        monkeypatch.setattr(host.environments, "python", lambda _place, _lock="": sys.executable)
    first = one.deploy(one.folder("hello", greeting("one"))).plan.version
    one.deploy(one.folder("hello", greeting("two")))
    other.deploy(other.folder("hello", greeting("one")))
    assert one.live("hello") == first
    assert one.store.lock(first) == "six==1.0"


def test_a_version_deployed_again_while_it_is_collected_stays(hosts: tuple[Host, Host]) -> None:
    """It is looked at once more before it is forgotten: its files are there for every host."""
    one, other = hosts
    old = one.deploy(one.folder("hello", greeting("old"))).plan
    one.deploy(one.folder("hello", greeting("new")))
    whole = one.backlog.open_work

    def open_work() -> Iterator[Found]:
        other.registry.announce("hello", old.version, old.manifest)
        yield from whole()

    one.backlog.open_work = open_work  # type: ignore[method-assign]
    assert Collector(one.registry, one.store, one.backlog, keep=0, grace_s=-1).collect("hello") == []
    assert other.versions.fetch(old.version, "hello").is_dir()
    assert other.registry.manifest(old.version) == old.manifest


def test_a_host_whose_clock_is_slow_shortens_no_grace(hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """When a version was last live is told by one clock, the server's."""
    one, other = hosts
    one.deploy(one.folder("hello", greeting("old")))
    now = time.time
    with monkeypatch.context() as slow:
        slow.setattr(time, "time", lambda: now() - 3600)
        other.deploy(other.folder("hello", greeting("new")))
    assert Collector(one.registry, one.store, one.backlog, keep=0, grace_s=600).collect("hello") == []


def test_what_no_archive_of_a_stranger_may_hold_reaches_every_host(hosts: tuple[Host, Host]) -> None:
    """A folder on disk may be packed tightly, and tell letters' case apart; its own archive is taken for what it is."""
    one, other = hosts
    folder = one.folder("hello", greeting("one"), Data_txt="a", data_txt="b", zeros_bin="0" * 2**21)
    (folder / "a\\b").write_text("c")
    version = one.deploy(folder).plan.version
    place = other.versions.fetch(version, "hello")
    assert sorted(path.name for path in place.iterdir()) == ["Data.txt", "__init__.py", "a\\b", "data.txt", "zeros.bin"]


def test_a_watched_folder_does_not_take_what_was_deployed_meanwhile(house: House, tmp_path: Path) -> None:
    """A name that another folder has taken by then stays there; the clash is told, and mended by a rename."""
    house.write("late", "one")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = House(house.url, tmp_path / "elsewhere")
    elsewhere.write("early", "one")
    report = house.sync(at("late", elsewhere.sync))
    assert "two functions are named 'one'" in str(report.problems)
    assert house.served() == {"one": "early"}
    house.write("late", "other")
    house.sync()
    assert house.served() == {"one": "early", "other": "late"}
    elsewhere.registry.close()
