"""A folder is deployed as a whole or not at all, and goes back the same way."""

from __future__ import annotations

import json
import os
import socket
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from runtime.authoring.triggers import CronTrigger
from runtime.ledger.keys import QueueKeys
from runtime.ledger.records import Acceptance
from runtime.versions.collecting import Collector
from runtime.versions.deployer import RefusedError
from runtime.versions.pack import pack
from runtime.versions.store import VersionGoneError
from runtime.versions.unpacked import Versions
from tests.ledger.book import Book, acceptance
from tests.versions.deploying import ADA, Host, greeting


@pytest.fixture
def make_host(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """`make_host(name)` is a host of its own over the shared Redis and object store."""
    hosts: list[Host] = []

    def make(name: str = "one", **more: int) -> Host:
        hosts.append(Host(redis_url, tmp_path / name, shared=tmp_path / "store", **more))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    return make_host()


@pytest.fixture
def book(redis_url: str, tmp_path: Path) -> Iterator[Book]:
    book = Book(redis_url, tmp_path / "results")
    yield book
    book.close()


def accept(book: Book, version: str, data: object = None, *, function: str = "greet", **more: object) -> str:
    document = {"id": "1", "source": "/", "type": "t", "time": "2026-01-01T00:00:00+00:00", "data": data or {}}
    wanted: Acceptance = acceptance(function=function, version=version, event=json.dumps(document).encode(), **more)
    return book.answers(wanted)[0].id


def test_a_deploy_tells_its_steps_and_its_plan(host: Host) -> None:
    """The pointer is the last thing written; the plan names every function and trigger."""
    steps: list[str] = []
    folder = host.folder("hello", greeting("one", more="@cron('0 9 * * *')\ndef tick() -> None: ..."))
    report = host.deploy(folder, steps.append)
    assert steps == ["pack", "install", "inspect", "store", "warm", "switch"]
    assert report.changed
    assert [(f.name, f.change) for f in report.plan.functions] == [("greet", "added"), ("tick", "added")]
    assert [(t.function, t.change, t.trigger.kind) for t in report.plan.triggers] == [
        ("greet", "added", "http"),
        ("tick", "added", "cron"),
    ]
    assert host.live("hello") == report.plan.version == pack(folder).version
    (entry,) = host.registry.history("hello")
    assert (entry.action, entry.version, entry.who, entry.commit, entry.dirty) == (
        "deploy",
        pack(folder).version,
        "ada",
        "9f2c",
        True,
    )


def test_the_plan_of_a_changed_folder(host: Host) -> None:
    """What is added, changed and removed, of files, functions and triggers; and it changes nothing."""
    first = host.deploy(host.folder("hello", greeting("one", more="@cron('0 9 * * *')\ndef tick() -> None: ...")))
    changed = "@function(timeout='5s')\n@cron('0 10 * * *')\ndef tick() -> None: ...\n@on('a.b')\ndef new() -> None: ..."
    folder = host.folder("hello", greeting("one", more=changed), data_txt="x")
    plan = host.deploy(folder, plan_only=True).plan
    assert host.live("hello") == first.plan.version == plan.before
    assert (plan.files.added, plan.files.changed, plan.files.removed) == (("data.txt",), ("__init__.py",), ())
    assert [(f.name, f.change, f.details) for f in plan.functions] == [
        ("new", "added", ()),
        ("tick", "changed", ("timeout_s: 30.0 → 5.0", "triggers")),
    ]
    schedules = [(t.change, t.trigger.expression) for t in plan.triggers if isinstance(t.trigger, CronTrigger)]
    assert schedules == [("added", "0 10 * * *"), ("removed", "0 9 * * *")]


def test_the_same_content_is_deployed_once(host: Host) -> None:
    """A second time nothing is stored, warmed or noted."""
    folder = host.folder("hello", greeting("one"))
    host.deploy(folder)
    steps: list[str] = []
    assert not host.deploy(folder, steps.append).changed
    assert steps == ["pack", "install"]
    assert len(host.registry.history("hello")) == 1


def test_another_host_fetches_a_version_once(make_host: Callable[..., Host], redis_url: str) -> None:
    """Small ones from Redis, large ones from the object store; what is unpacked already is not fetched again."""
    for name, inline_bytes in (("inline", 2**20), ("stored", 10)):
        one, other = (make_host(f"{name}-{n}", inline_bytes=inline_bytes) for n in (1, 2))
        folder = one.folder(name, f"from runtime import function\n@function\ndef {name}(): ...\n", data__words_txt="x" * 100)
        version = one.deploy(folder).plan.version
        with redis.Redis.from_url(redis_url) as connection:
            assert (connection.strlen(f"oncue:archive:{version}") > 0) == (name == "inline")
        place = other.versions.fetch(version, name)
        assert (place / "data" / "words.txt").read_text() == "x" * 100
        assert pack(place).files == pack(folder).files
        other.store.delete([version])
        assert other.versions.fetch(version, name) == place


def test_a_version_that_is_not_what_it_was_is_refused(make_host: Callable[..., Host], redis_url: str) -> None:
    """The digest is checked before anything is unpacked."""
    one, other = make_host("one"), make_host("two")
    good = one.deploy(one.folder("hello", greeting("good"))).plan.version
    evil = one.deploy(one.folder("hello", greeting("evil"))).plan.version
    with redis.Redis.from_url(redis_url) as connection:
        connection.set(f"oncue:archive:{good}", connection.get(f"oncue:archive:{evil}") or b"")
    with pytest.raises(Exception, match=f"the store's files of hello are {evil}, not {good}"):
        other.versions.fetch(good, "hello")
    assert not other.versions.path(good).exists()


def test_who_deploys_holds_no_version_for_long(host: Host) -> None:
    """A process that has deployed for months has no more descriptors open, and keeps no more on disk, than at first."""
    for n in range(3):
        host.deploy(host.folder("hello", greeting(str(n))))
    root = str(host.place / "data" / "versions")
    held = [each for each in Path("/proc/self/fd").iterdir() if os.path.realpath(each).startswith(root)]
    assert len(held) == 1


def test_unused_unpacked_versions_are_swept_and_used_ones_stay(make_host: Callable[..., Host]) -> None:
    """The bound holds for what nobody uses; a process's own versions are locked until it lets go of them, or ends."""
    one = make_host("one")
    versions = [one.deploy(one.folder("hello", greeting(str(n)))).plan.version for n in range(3)]
    for version in versions:
        one.versions.fetch(version, "hello")
    sweeper = Versions(one.place / "data")  # locks of its own, as another process has
    assert sweeper.sweep(most=0) == []
    for version in versions[:2]:
        one.versions.let_go(version)
    assert set(sweeper.sweep(most=0)) == set(versions[:2])
    assert one.versions.path(versions[2]).is_dir()


BROKEN = {
    "syntax error": ("def x(:\n", r"hello/__init__.py:1: SyntaxError"),
    "import error": ("import no_such_module_at_all\n", r"hello/__init__.py:1: No module named 'no_such_module_at_all'"),
    "crash": ("import os\nos.kill(os.getpid(), 9)\n", "ended its process"),
    "exit": ("import sys\nsys.exit(3)\n", r"sys.exit\(3\)"),
    "writes outside": (
        "open('own.txt', 'w')\n",
        r"hello/__init__.py:1: PermissionError: .*: 'own.txt'; an import may read, and",
    ),
    "no function": ("x = 1\n", "no function is declared in hello/"),
    "invalid cron": ("from runtime import cron\n@cron('99 * * * *')\ndef f(): ...\n", r"hello/__init__.py:\d: "),
    "clash": ("from runtime import http\n@http('POST /taken')\ndef f(): ...\n", r"two functions declare the route POST /taken"),
    "name clash": ("from runtime import function\n@function\ndef taken(): ...\n", "two functions are named 'taken'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_changes_nothing(host: Host, name: str) -> None:
    """One readable message, with the place; what was served is served on, and the next deploy works."""
    source, message = BROKEN[name]
    host.deploy(host.folder("other", "from runtime import http\n@http('POST /taken')\ndef taken(): ...\n"))
    good = host.deploy(host.folder("hello", greeting("good"))).plan.version
    before = host.registry.catalog()
    with pytest.raises(RefusedError, match=message):
        host.deploy(host.folder("hello", source))
    assert host.registry.catalog() == before
    assert len(host.registry.history("hello")) == 1
    assert host.live("hello") == good
    assert host.deploy(host.folder("hello", greeting("better"))).changed


def test_an_import_that_hangs_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its time, with a sentence."""
    monkeypatch.setattr("runtime.versions.staging.inspect", _hasty_inspect)
    with pytest.raises(RefusedError, match="the import did not end within 1 s; move slow work into the handler"):
        host.deploy(host.folder("hello", "import time\ntime.sleep(60)\n"))
    assert host.live("hello") is None


def _hasty_inspect(place: Path, *, name: str, python: str) -> object:
    from runtime.authoring.inspection import inspect

    return inspect(place, name=name, python=python, deadline_s=1.0)


def test_an_import_that_leaves_a_fork_is_refused(host: Host) -> None:
    """Nothing changes; what the import left running has ended, and no longer holds its connection."""
    source = """
        import os, socket, sys
        if "runtime.authoring.inspector" in sys.modules.get("__main__").__spec__.name:
            with socket.create_connection(("127.0.0.1", {port})) as link:
                if not os.fork():
                    os.setsid()
                    link.sendall(b"forked")
                    link.recv(1)
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(RefusedError, match=r"the import left .* running; start processes in the handler"):
            host.deploy(host.folder("hello", textwrap.dedent(source.replace("{port}", str(port))) + greeting("one")))
        assert host.live("hello") is None
        listener.settimeout(10)
        link, _ = listener.accept()
        with link:
            link.settimeout(10)
            assert link.recv(6, socket.MSG_WAITALL) == b"forked"
            assert link.recv(1) == b""


def test_missing_secrets_are_refused_unless_allowed(host: Host) -> None:
    """Those of functions and of routes; each is named with its function, and none is needed twice."""
    route = '@http("POST /signed", verify="github", secret=["OLD", "NEW"])'
    source = f'from runtime import function, http\n@function(secrets=["TOKEN"])\n{route}\ndef greet(): ...\n'
    folder = host.folder("hello", source)
    with pytest.raises(
        RefusedError, match=r"ONCUE_SECRET_TOKEN \(greet\), ONCUE_SECRET_OLD \(greet\), ONCUE_SECRET_NEW"
    ) as caught:
        host.deploy(folder)
    assert caught.value.code == "missing-secrets"
    assert host.live("hello") is None
    host.secrets |= {"TOKEN": "t", "NEW": "n"}
    assert host.deploy(folder).changed
    host.secrets.clear()
    assert host.deploy(host.folder("hello", source + "# again"), allow_missing_secrets=True).changed


def test_a_folder_whose_child_does_not_start_is_not_switched_to(host: Host) -> None:
    """Warm before switch: an import that fails in a child only is met before the caller would."""
    good = host.deploy(host.folder("hello", greeting("good"))).plan.version
    probe = "import sys\nif 'runtime.execution.frames' in sys.modules: raise RuntimeError('not in a child')\n"
    with pytest.raises(RefusedError, match="its child does not start: RuntimeError: not in a child"):
        host.deploy(host.folder("hello", probe + greeting("bad")))
    assert host.live("hello") == good


def test_smoke_events_decide(host: Host) -> None:
    """They run before the switch, in a child; a failure is told with the handler's own words."""
    source = greeting("x", parameter="n: int", more="@function\ndef fails(): raise ValueError('too hot')")
    with pytest.raises(RefusedError, match=r"events/smoke\.json: there is none"):
        host.deploy(host.folder("hello", source), smoke=True)
    with pytest.raises(RefusedError, match="'fails' failed its smoke event: ValueError: too hot"):
        host.deploy(host.folder("hello", source, events__smoke_json='{"greet": {"n": 1}, "fails": {}}'), smoke=True)
    with pytest.raises(RefusedError, match="'greet' failed its smoke event: InputError"):
        host.deploy(host.folder("hello", source, events__smoke_json='{"greet": {"n": "one"}}'), smoke=True)
    assert host.live("hello") is None
    assert host.deploy(host.folder("hello", source, events__smoke_json='{"greet": {"n": 1}}'), smoke=True).changed


def test_rollback_goes_to_what_was_live_before_or_to_any_version(host: Host) -> None:
    """By the beginning of its name, too; what never was is refused, and so is what begins like several."""
    one, two, three = (host.deploy(host.folder("hello", greeting(str(n)))).plan.version for n in range(3))
    assert host.deployer.rollback("hello", None, ADA).version == two
    assert host.live("hello") == two
    assert host.deployer.rollback("hello", one[:7], ADA).version == one
    with pytest.raises(RefusedError, match="it has no version 'zzz'"):
        host.deployer.rollback("hello", "zzz", ADA)
    with pytest.raises(RefusedError, match="3 of its versions begin with ''; say more of it"):
        host.deployer.find("hello", "")
    assert [entry.version for entry in host.registry.history("hello")] == [one, two, three, two, one]
    with pytest.raises(RefusedError, match="nothing of it was ever deployed"):
        host.deployer.rollback("nothing", None, ADA)


def test_a_rollback_that_would_clash_is_refused(host: Host) -> None:
    """What others have taken meanwhile stays theirs."""
    host.deploy(host.folder("hello", greeting("one")))
    second = host.deploy(host.folder("hello", "from runtime import function\n@function\ndef other(): ...\n")).plan.version
    host.deploy(host.folder("taker", greeting("taken")))
    with pytest.raises(RefusedError, match="two functions are named 'greet'"):
        host.deployer.rollback("hello", None, ADA)
    assert host.live("hello") == second


def test_an_undeployed_folder_can_be_brought_back(host: Host) -> None:
    """Its functions are gone at once; its versions are kept."""
    version = host.deploy(host.folder("hello", greeting("one"))).plan.version
    host.deployer.undeploy("hello", ADA)
    assert host.live("hello") is None
    with pytest.raises(RefusedError, match="nothing of it is deployed"):
        host.deployer.undeploy("hello", ADA)
    assert host.deployer.rollback("hello", None, ADA).version == version


def test_a_rollback_holds_against_the_watched_folder(host: Host) -> None:
    """Until the folder changes on disk."""
    root = host.folder("hello", greeting("one")).parent
    one = host.deployer.sync(root).changes[0].deployed
    host.folder("hello", greeting("two"))
    host.deployer.sync(root)
    assert one is not None
    host.deployer.rollback("hello", None, ADA)
    host.folder("other", "from runtime import function\n@function\ndef other(): ...\n")
    host.deployer.sync(root)
    assert host.live("hello") == one.version
    host.folder("hello", greeting("three"))
    host.deployer.sync(root)
    assert host.live("hello") == pack(root / "hello").version


def test_a_share_of_the_invocations(host: Host) -> None:
    """Sticky by key, within a few percent; promoted or ended; a key that the candidate has stays with it as it grows."""
    stable = host.deploy(host.folder("hello", greeting("one"))).plan.version
    report = host.deploy(host.folder("hello", greeting("two", more="@function\ndef extra(): ...")), percent=10)
    candidate = report.plan.version
    function = host.registry.catalog().functions["greet"]
    keys = [f"key-{n}" for n in range(4000)]
    chosen = {key: function.version_for(key) for key in keys}
    share = sum(version == candidate for version in chosen.values()) / len(keys)
    assert set(chosen.values()) == {stable, candidate}
    assert 0.08 < share < 0.12
    assert "extra" not in host.registry.catalog().functions
    assert host.live("hello") == stable
    host.deployer.promote("hello", ADA, percent=40)
    grown = host.registry.catalog().functions["greet"]
    assert all(grown.version_for(key) == candidate for key, version in chosen.items() if version == candidate)
    host.deployer.promote("hello", ADA)
    assert host.live("hello") == candidate
    assert {host.registry.catalog().functions["greet"].version_for(key) for key in keys[:100]} == {candidate}
    assert "extra" in host.registry.catalog().functions


def test_a_share_can_be_ended(host: Host) -> None:
    """A rollback without a version takes the candidate's share away; and shares are for what serves already."""
    with pytest.raises(RefusedError, match="nothing is deployed to share with"):
        host.deploy(host.folder("hello", greeting("one")), percent=10)
    stable = host.deploy(host.folder("hello", greeting("one"))).plan.version
    host.deploy(host.folder("hello", greeting("two")), percent=50)
    assert host.deployer.rollback("hello", None, ADA).version == stable
    deployed = host.registry.catalog().folders["hello"]
    assert (deployed.version, deployed.candidate) == (stable, None)
    with pytest.raises(RefusedError, match="no version of it is being rolled out"):
        host.deployer.promote("hello", ADA)
    with pytest.raises(RefusedError, match="1 to 99 percent, not 100"):
        host.deploy(host.folder("hello", greeting("two")), percent=100)


def test_what_waits_stays_on_its_version_unless_it_is_adopted(host: Host, book: Book) -> None:
    """Queued, scheduled and retrying ones move when their data fits the new schema; the others stay, and are told; also afterwards."""
    one = host.deploy(host.folder("hello", greeting("one", parameter="n: int = 0, word: str = ''"))).plan.version
    running, retrying = accept(book, one, {"n": 1}), accept(book, one, {"n": 1})
    claims = {claim.id: claim for claim in book.claims(2)}
    assert book.finish(claims[retrying], "retrying", retry_in_s=3600) == "retrying"
    queued, scheduled = accept(book, one, {"n": 1}), accept(book, one, {"n": 2}, delay_s=3600)
    misfit = accept(book, one, {"word": "no number"})
    everything = (running, retrying, queued, scheduled, misfit)
    host.deploy(host.folder("hello", greeting("two", parameter="n: int")))
    assert {book.record(id).version for id in everything} == {one}
    report = host.deploy(host.folder("hello", greeting("three", parameter="n: int")), adopt=True)
    assert report.adopted == 3
    assert [id for id, _ in report.misfits] == [misfit]
    assert "required" in report.misfits[0][1]
    assert {book.record(id).version for id in (retrying, queued, scheduled)} == {report.plan.version}
    assert {book.record(id).version for id in (running, misfit)} == {one}
    late = accept(book, one, {"n": 3})
    again = host.deploy(host.folder("hello", greeting("three", parameter="n: int")), adopt=True)
    assert (again.changed, again.adopted, book.record(late).version) == (False, 1, report.plan.version)


def test_a_version_is_collected_only_without_open_work_and_dead_letters(make_host: Callable[..., Host], book: Book) -> None:
    """Beyond the newest N: queued, delayed and failed invocations each keep theirs; the rest goes, files, counts and all."""
    host = make_host(keep=5)
    words = ("queued", "delayed", "failed", "unused", "live")
    queued, delayed, failed, unused, live = (host.deploy(host.folder("hello", greeting(word))).plan.version for word in words)
    accept(book, failed)
    book.finish(book.claim(), "failed")
    accept(book, unused)
    book.finish(book.claim(), "succeeded")
    accept(book, queued)
    accept(book, delayed, delay_s=3600)
    assert counted(book) == {failed, unused}
    one = Collector(host.registry, host.store, host.backlog, keep=0, grace_s=0)
    assert one.collect("hello") == [unused]
    assert set(host.registry.versions("hello")) == {queued, delayed, failed, live}
    with pytest.raises(KeyError):
        host.registry.manifest(unused)
    with pytest.raises(RefusedError, match="has no version"):
        host.deployer.rollback("hello", unused, ADA)
    with pytest.raises(VersionGoneError):
        host.store.get(unused, "hello")
    assert host.store.get(queued, "hello").version == queued
    assert counted(book) == {failed}
    book.finish(book.claim(), "succeeded")
    assert one.collect("hello") == [queued]
    assert counted(book) == {failed}


def counted(book: Book) -> set[str]:
    """The versions whose outcomes are counted."""
    return {field.decode().partition(" ")[0] for field in book.redis.hkeys(QueueKeys("default").versions)}


def test_a_version_that_is_live_is_never_collected(make_host: Callable[..., Host]) -> None:
    """However old it is: a rollback to the oldest version keeps it."""
    host = make_host()
    versions = [host.deploy(host.folder("hello", greeting(str(n)))).plan.version for n in range(3)]
    host.deployer.rollback("hello", versions[0], ADA)
    assert set(Collector(host.registry, host.store, host.backlog, keep=0, grace_s=0).collect("hello")) == set(versions[1:])
    assert list(host.registry.versions("hello")) == [versions[0]]
    assert host.live("hello") == versions[0]
