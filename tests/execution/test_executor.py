"""One attempt from claim to verdict, with the real ledger and real children."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.embedded import EmbeddedServer
from runtime.carriers.holdings import Holdings
from runtime.execution.executor import Executor
from runtime.execution.pool import ChildPool
from runtime.execution.pools import Pools
from runtime.execution.processes import adopt_orphans
from runtime.ledger.committer import Committer
from runtime.ledger.keys import QueueKeys
from runtime.ledger.records import Claim, Invocation
from runtime.ledger.store import ObjectStore, ResultStore
from runtime.versions.store import VersionStore
from tests.carriers.rig import Deployment

Eventually = Callable[..., Any]

CODE = """
import logging, sys

@function
def echo(x: object = None, *, ctx: Context, event: Event) -> dict:
    return {"x": x, "id": ctx.id, "attempt": ctx.attempt, "key": ctx.idempotency_key, "trace": ctx.trace, "source": event.source}

@function
def talks(path: str, ctx: Context) -> str:
    print("hello from stdout")
    ctx.log.warning("careful")
    ctx.progress(0.5, "half")
    while not os.path.exists(path):
        time.sleep(0.005)
    print("goodbye")
    return "done"

@function
def chains(ctx: Context) -> None:
    ctx.emit("thing.done", {"a": 1})
    ctx.invoke("echo", {"x": 2}, delay="5s")

@function
def chains_and_fails(ctx: Context) -> None:
    ctx.emit("thing.done")
    raise ValueError("after all")

@function(retries=1)
def dies() -> None:
    os._exit(9)

@function(timeout=0.3, retries=0)
def hangs() -> None:
    time.sleep(60)

@function
def large() -> bytes:
    return b"x" * (2**20 + 1)

@function
def odd(n: int) -> Any: return {1: 2, "set": object()}
""".replace("def odd(n: int) -> Any", "def odd(n: int)")


class Bench:
    """An executor over one deployment, called directly."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.book = deployment, deployment.book
        registry = deployment.registry
        self.holdings = Holdings(4)
        self.committer = Committer(self.book.worker, lambda verdicts, _: self.holdings.release([v.claim for v in verdicts]))
        self.archives = VersionStore(deployment.url, ObjectStore(f"file://{deployment.place / 'versions'}"))
        self.pools = Pools(self._pool)
        store = ResultStore(f"file://{deployment.place / 'results'}")
        self.executor = Executor(self.book.worker, self.committer, self.pools, store, registry.manifest)
        self.committer.start()
        self.executor.start()

    def _pool(self, version: str) -> ChildPool:
        assert self.archives.lock(version) == ""  # asked of Redis, as a worker does
        path, state = self.deployment.versions.path(version), self.deployment.versions.state("sample")
        return ChildPool(folder=path, name="sample", state_dir=state, secret=lambda _: None)

    def close(self) -> None:
        self.archives.close()
        self.committer.close(2)
        self.executor.close()
        self.deployment.close()

    def claim(self, function: str, data: Any = None, **more: Any) -> Claim:
        self.deployment.accept(function, data, **more)
        claim = self.book.claim()
        self.holdings.take([claim])
        return claim

    def run(self, function: str, data: Any = None, **more: Any) -> Invocation:
        claim = self.claim(function, data, **more)
        self.executor.run(claim, self.holdings)
        assert self.committer.flush(5)
        return self.book.record(claim.id)

    def result(self, invocation: Invocation) -> Any:
        return json.loads(self.book.run(self.book.edge.result(invocation)) or b"")


@pytest.fixture
def bench(redis_url: str, tmp_path: Path) -> Iterator[Bench]:
    adopt_orphans()  # as a worker does
    bench = Bench(Deployment(redis_url, tmp_path, CODE))
    yield bench
    bench.close()
    assert bench.holdings.all() == []


def test_a_handler_meets_its_event_and_context(bench: Bench) -> None:
    """Id, attempt, idempotency key, trace and data reach it, and its result comes back."""
    more = {"key": "clé", "more": {"trace": json.dumps({"traceparent": "00-1"})}}
    record = bench.run("echo", {"x": [1, "ü"]}, **more)
    assert record.status == "succeeded"
    assert bench.result(record) == {
        "x": [1, "ü"],
        "id": record.id,
        "attempt": 1,
        "key": "clé",
        "trace": {"traceparent": "00-1"},
        "source": "/test",
    }


def test_output_is_written_while_the_handler_runs(bench: Bench, tmp_path: Path, eventually: Eventually) -> None:
    """Lines and progress can be read before it ends; the rest comes with the verdict, once and in order."""
    claim = bench.claim("talks", {"path": str(tmp_path / "go")})
    runner = threading.Thread(target=bench.executor.run, args=(claim, bench.holdings))
    runner.start()
    eventually(lambda: len(bench.book.frames(claim.id)) == 3)
    assert bench.book.record(claim.id).progress == {"kind": "progress", "fraction": 0.5, "note": "half"}
    (tmp_path / "go").write_text("")
    runner.join(5)
    assert bench.committer.flush(5)
    said = [frame.get("line", frame["kind"]) for frame in bench.book.frames(claim.id)]
    assert sorted(said[:3]) == ["careful", "hello from stdout", "progress"]
    assert said[3:] == ["goodbye"]


def test_output_written_while_the_handler_ends_is_not_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict waits for frames that are on their way: behind it they would be refused."""
    on_its_way, may_go = threading.Event(), threading.Event()
    append = bench.book.worker.append_output

    def slow(*arguments: Any) -> bool:
        on_its_way.set()
        assert may_go.wait(5)
        return append(*arguments)

    monkeypatch.setattr(bench.book.worker, "append_output", slow)
    path = bench.deployment.place / "go"
    claim = bench.claim("talks", {"path": str(path)})
    runner = threading.Thread(target=bench.executor.run, args=(claim, bench.holdings))
    runner.start()
    assert on_its_way.wait(5)
    path.write_text("")
    runner.join(0.3)
    may_go.set()
    runner.join(5)
    assert bench.committer.flush(5)
    lines = [frame["line"] for frame in bench.book.frames(claim.id) if frame["kind"] == "log"]
    assert sorted(lines) == ["careful", "goodbye", "hello from stdout"]


def test_what_follows_leaves_with_a_success_only(bench: Bench) -> None:
    """Emitted and invoked are in the outbox together with the outcome, or not at all."""
    assert bench.run("chains").status == "succeeded"
    outbox = QueueKeys("default").outbox
    follow_ups = [json.loads(fields[b"follow_up"]) for _, fields in bench.book.redis.xrange(outbox)]
    assert follow_ups == [
        {"kind": "emit", "type": "thing.done", "data": {"a": 1}},
        {"kind": "invoke", "function": "echo", "data": {"x": 2}, "delay_s": 5.0},
    ]
    record = bench.run("chains_and_fails")
    assert record.status == "retrying"
    assert bench.book.redis.xlen(outbox) == 2


def test_a_dying_child_costs_its_own_invocation_an_attempt(bench: Bench) -> None:
    """It is retried and counted; the next invocation gets a fresh child."""
    record = bench.run("dies")
    assert (record.status, record.deaths) == ("retrying", 1)
    assert record.error is not None
    assert record.error["kind"] == "crash"
    assert bench.run("echo").status == "succeeded"


def test_a_timeout_ends_the_attempt(bench: Bench) -> None:
    """With its own kind of error, and without counting as poison."""
    record = bench.run("hangs")
    assert (record.status, record.deaths) == ("failed", 0)
    assert record.error is not None
    assert record.error["kind"] == "timeout"


def test_bad_input_and_bad_results_fail_at_once(bench: Bench) -> None:
    """No retry mends them; the error says where."""
    record = bench.run("odd", {"n": "x"})
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["errors"][0]["pointer"] == "/n"
    record = bench.run("odd", {"n": 1})
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["kind"] == "result"


def test_a_large_result_is_kept_outside_redis(bench: Bench) -> None:
    """And is read back through the ledger."""
    record = bench.run("large")
    assert record.result is not None
    assert record.result.place == "store"
    assert not bench.book.redis.exists(QueueKeys("default").result(record.id))
    assert bench.book.run(bench.book.edge.result(record)) == b"x" * (2**20 + 1)


@pytest.mark.parametrize(("function", "version", "what"), [("echo", "no-such-version", "KeyError"), ("nobody", None, "nobody")])
def test_what_the_host_cannot_run_is_a_verdict_too(bench: Bench, function: str, version: str | None, what: str) -> None:
    """A missing version or function is told, and retried like any failure."""
    bench.deployment.version = version or bench.deployment.version
    record = bench.run(function)
    assert record.status == "retrying"
    assert record.error is not None
    assert record.error["kind"] == "host"
    assert what in record.error["message"]


def test_a_claim_that_was_handed_back_does_not_run(bench: Bench) -> None:
    """While it waited for a thread, the worker began to stop."""
    claim = bench.claim("echo")
    assert bench.holdings.stop() == [claim]
    bench.book.worker.hand_back("default", [claim])
    bench.executor.run(claim, bench.holdings)
    assert bench.committer.flush(1)
    record = bench.book.record(claim.id)
    assert (record.status, record.attempt) == ("queued", 0)


def test_letting_go_of_a_stale_attempt_spares_the_next_one(bench: Bench, tmp_path: Path, eventually: Eventually) -> None:
    """Both attempts of one invocation meet in one worker: the earlier one is ended, the later one succeeds."""
    first = bench.claim("talks", {"path": str(tmp_path / "go")})
    earlier = threading.Thread(target=bench.executor.run, args=(first, bench.holdings))
    earlier.start()
    eventually(lambda: bench.pools.get(first.version).size == 1)
    bench.book.worker.lease_s = 0.001
    taken: list[Claim] = []
    eventually(lambda: taken.extend(bench.book.take_over("one")) or taken)
    (second,) = taken
    bench.holdings.take([second])
    later = threading.Thread(target=bench.executor.run, args=(second, bench.holdings))
    later.start()
    earlier.join(5)
    assert not earlier.is_alive()
    eventually(lambda: bench.executor._running.get(second.id) is second)
    bench.executor.let_go(first, "stale")
    (tmp_path / "go").write_text("")
    later.join(5)
    assert bench.committer.flush(5)
    record = bench.book.record(first.id)
    assert (record.status, record.lost) == ("succeeded", 1)


def test_letting_go_of_an_attempt_ends_its_child(bench: Bench, tmp_path: Path, eventually: Eventually) -> None:
    """The call comes back cancelled, and so does the invocation."""
    claim = bench.claim("talks", {"path": str(tmp_path / "never")})
    runner = threading.Thread(target=bench.executor.run, args=(claim, bench.holdings))
    runner.start()
    eventually(lambda: bench.book.frames(claim.id))
    bench.executor.let_go(claim, "cancel")
    runner.join(5)
    assert bench.committer.flush(5)
    assert bench.book.record(claim.id).status == "cancelled"


def test_output_said_during_an_outage_is_kept(tmp_path: Path, eventually: Eventually) -> None:
    """Redis goes away under a running handler and comes back: its lines and its outcome are there."""
    with EmbeddedServer(tmp_path / "redis") as server:
        bench = Bench(Deployment(server.url, tmp_path, CODE))
        assert bench.run("echo").status == "succeeded"  # the version's manifest is known
        claim = bench.claim("talks", {"path": str(tmp_path / "go")})
        server.kill()
        runner = threading.Thread(target=bench.executor.run, args=(claim, bench.holdings))
        runner.start()
        eventually(lambda: bench.executor._outputs and bench.executor._outputs[claim.id]._frames)
        (tmp_path / "go").write_text("")
        runner.join(5)
        assert not bench.committer.flush(0.1)
        server.start()
        assert bench.committer.flush(10)
        record = bench.book.record(claim.id)
        assert record.status == "succeeded"
        lines = [frame["line"] for frame in bench.book.frames(claim.id) if frame["kind"] == "log"]
        assert sorted(lines) == ["careful", "goodbye", "hello from stdout"]
        bench.close()


def test_an_outage_before_a_version_is_at_hand_is_no_failure(tmp_path: Path, eventually: Eventually) -> None:
    """What a pool is made of comes from Redis: while that is away the attempt waits."""
    with EmbeddedServer(tmp_path / "redis") as server:
        bench = Bench(Deployment(server.url, tmp_path, CODE))
        assert bench.run("echo").status == "succeeded"  # the function is known
        bench.pools.close()
        claim = bench.claim("echo")
        server.kill()
        runner = threading.Thread(target=bench.executor.run, args=(claim, bench.holdings))
        runner.start()
        eventually(lambda: claim.id in bench.executor._outputs)
        server.start()
        runner.join(10)
        assert bench.committer.flush(10)
        record = bench.book.record(claim.id)
        assert (record.status, record.attempt) == ("succeeded", 1)
        bench.close()


def test_output_that_cannot_be_written_ends_no_other(bench: Bench, tmp_path: Path, eventually: Eventually) -> None:
    """The thread that writes output goes on."""
    runners: list[threading.Thread] = []
    bench.book.redis.config_resetstat()
    for _ in range(2):
        claim = bench.claim("talks", {"path": str(tmp_path / "go")})
        if not runners:
            bench.book.redis.set(QueueKeys("default").output(claim.id), "no stream")
        runners.append(threading.Thread(target=bench.executor.run, args=(claim, bench.holdings)))
        runners[-1].start()
        eventually(lambda: "errorstat_WRONGTYPE" in bench.book.redis.info("errorstats"))
    eventually(lambda: bench.book.frames(claim.id))
    (tmp_path / "go").write_text("")
    for runner in runners:
        runner.join(10)
    assert bench.committer.flush(5)
    assert bench.book.record(claim.id).status == "succeeded"


def test_pools_are_made_once_per_version(tmp_path: Path) -> None:
    """By whichever thread comes first; all are closed together."""
    made: list[str] = []

    def make(version: str) -> ChildPool:
        made.append(version)
        return ChildPool(folder=tmp_path, name="f", state_dir=tmp_path / "state", secret=lambda _: None)

    pools = Pools(make)
    threads = [threading.Thread(target=pools.get, args=(f"v{n % 2}",)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["v0", "v1"]
    assert not pools.cancel("unknown", "id")
    assert not pools.cancel("v0", "id")
    pools.reap_idle()
    pools.close()


def test_versions_that_nobody_asks_for_are_forgotten(tmp_path: Path, eventually: Callable[..., object]) -> None:
    """Once their children have ended; asked for again, they are made again."""
    forgotten: list[str] = []

    def make(version: str) -> ChildPool:
        return ChildPool(folder=tmp_path, name="f", state_dir=tmp_path / "state", secret=lambda _: None)

    pools = Pools(make, forgotten.append, unused_s=0.2)
    first, kept = pools.get("v0"), pools.get("v1")

    def reaped() -> bool:
        assert pools.get("v1") is kept
        pools.reap_idle()
        return bool(forgotten)

    eventually(reaped)
    assert forgotten == ["v0"]
    assert pools.get("v0") is not first
    pools.close()
