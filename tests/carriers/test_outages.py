"""Redis goes away under workers, loses its data, or its connections are reset: what each part makes of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest
import uvloop

from infra.embedded import EmbeddedServer
from runtime.carriers.redis_streams import Promoter
from runtime.carriers.relay import TAKE_OVER_S, Relay
from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import QueueKeys
from runtime.ledger.ledger import Ledger
from runtime.ledger.store import ResultStore
from runtime.ledger.wire import LedgerUnavailableError
from tests.carriers.rig import Deployment, Rig
from tests.chaos.proxy import Proxy, Reply
from tests.ledger.book import acceptance

Deploy = Callable[..., Deployment]
Work = Callable[..., Rig]
Eventually = Callable[..., object]

KEYS = QueueKeys("default")

CODE = """
@function
def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.005)
    return "seen"
"""


def test_an_outage_longer_than_the_lease_takes_nothing_from_living_workers(
    own_server: EmbeddedServer, deploy: Deploy, work: Work, eventually: Eventually, tmp_path: Path
) -> None:
    """Each lease has run out when Redis is back; who holds it may still renew it and tell its outcome."""
    deployment = deploy(own_server.url, CODE, lease_s=1.0)
    (tmp_path / "go").touch()
    deployment.accept("wait_for", {"path": "held by another worker"})
    (claim,) = deployment.book.claims(consumer="another")
    rig = work(deployment)
    (first,) = deployment.accept("wait_for", {"path": str(tmp_path / "go")})
    eventually(lambda: deployment.all_are("succeeded", [first]))
    deployment.book.worker.renew("default", "another", [claim])
    own_server.kill()
    time.sleep(1.5)  # the outage
    own_server.start()
    deployment.book.worker.close()  # its connection died with the server; it opens another
    second = eventually(lambda: _accepted(deployment, str(tmp_path / "go")))
    eventually(lambda: deployment.all_are("succeeded", [str(second)]))  # so the worker fetches again
    assert deployment.book.finish(claim) == "succeeded"
    assert [verdict.claim.id for verdict, _ in rig.told] == [first, second]


def test_a_worker_that_was_busy_through_an_outage_takes_nothing_from_living_workers(
    own_server: EmbeddedServer, deploy: Deploy, work: Work, eventually: Eventually, tmp_path: Path
) -> None:
    """It fetched nothing meanwhile: what it saw of the outage is that its leases could not be renewed."""
    deployment = deploy(own_server.url, CODE, lease_s=1.0)
    deployment.accept("wait_for", {"path": "held by another worker"})
    (claim,) = deployment.book.claims(consumer="another")
    rig = work(deployment, threads=1)
    busy, following = (deployment.accept("wait_for", {"path": str(tmp_path / name)})[0] for name in ("go", "on"))
    eventually(lambda: deployment.book.record(busy).status == "running")
    deployment.book.worker.renew("default", "another", [claim])
    own_server.kill()
    time.sleep(2.0)  # the outage
    (tmp_path / "go").touch()  # so it fetches for the first time as Redis comes back
    own_server.start()
    (tmp_path / "on").touch()
    deployment.book.worker.close()  # its connection died with the server; it opens another
    eventually(lambda: deployment.all_are("succeeded", [busy, following]))
    assert deployment.book.finish(claim) == "succeeded"
    assert [verdict.claim.id for verdict, _ in rig.told] == [busy, following]


def test_a_standstill_longer_than_the_lease_takes_nothing_from_living_workers(
    own_server: EmbeddedServer, deploy: Deploy, eventually: Eventually
) -> None:
    """A Redis that stood still (a disk that syncs for seconds) runs first what was sent meanwhile, before any renewal."""
    deployment = deploy(own_server.url, CODE, lease_s=1.0)
    book, ledger = deployment.book, Ledger(own_server.url, lease_s=1.0)
    book.worker.declare("default")
    (sent,) = deployment.accept("wait_for", {"path": "held by another worker"})
    book.worker.sent("default", book.worker.deliveries("default", "publisher", count=1, block_s=0.05))
    promoter = Promoter(ledger, "default")
    promoter.start()
    eventually(lambda: book.redis.info("clients")["blocked_clients"] == 1)  # it waits for its next look
    (claim,) = book.worker.claim("default", "another", [("", sent)])
    os.kill(own_server.pid, signal.SIGSTOP)
    time.sleep(2.0)  # the standstill; the promoter looks once a second
    os.kill(own_server.pid, signal.SIGCONT)
    assert book.worker.renew("default", "another", [claim]) == []
    eventually(lambda: book.record(sent).status == "queued")  # nobody renews it any more
    promoter.close()
    ledger.close()
    promoter._thread.join(5)


def _accepted(deployment: Deployment, path: str) -> str:
    (invocation_id,) = deployment.accept("wait_for", {"path": path})
    return invocation_id


def test_a_lease_without_a_stream_entry_is_renewed_while_the_server_is_full(own_server: EmbeddedServer, deploy: Deploy) -> None:
    """What another carrier delivered stays with its worker at maxmemory, as what Redis carries does."""
    deployment = deploy(own_server.url, CODE)
    book = deployment.book
    (invocation_id,) = deployment.accept("wait_for", {"path": "nowhere"})
    book.worker.declare("default")
    (claim,) = book.worker.claim("default", "one", [("", invocation_id)])
    leases = f"{KEYS.base}:leases"
    before = book.redis.zscore(leases, invocation_id)
    book.redis.config_set("maxmemory", 1)
    assert book.worker.renew("default", "one", [claim]) == []
    assert book.redis.zscore(leases, invocation_id) > before


def test_follow_ups_go_on_at_once_after_an_outage(own_server: EmbeddedServer, deploy: Deploy, eventually: Eventually) -> None:
    """What a relay had read when Redis began to refuse leaves when it takes writes again, long before a takeover is due."""
    deployment = deploy(own_server.url, CODE)
    book = deployment.book
    relay = Relay(own_server.url, "default", "relay", deployment.registry.catalog)
    relay.start()
    follow_up = b'{"kind":"invoke","function":"wait_for","data":{"path":"nowhere"},"delay_s":0}'
    eventually(lambda: book.redis.exists(KEYS.outbox))
    book.redis.xadd(KEYS.outbox, {"parent": "default-" + "0" * 26, "follow_up": follow_up})
    eventually(lambda: book.redis.xlen(KEYS.stream) == 1)
    with book.redis.pipeline() as at_once:
        for _ in range(3):
            at_once.xadd(KEYS.outbox, {"parent": "default-" + "0" * 26, "follow_up": follow_up})
        at_once.config_set("maxmemory", 1)
        at_once.execute()
    eventually(lambda: book.redis.xpending(KEYS.outbox, "relay")["pending"] == 3)
    eventually(lambda: "errorstat_OOM" in book.redis.info("errorstats"))
    book.redis.config_set("maxmemory", 0)
    eventually(lambda: book.redis.xlen(KEYS.stream) == 4, TAKE_OVER_S / 2)
    relay.close()
    relay._thread.join(5)


def test_a_follow_up_whose_reading_was_not_answered_leaves_at_once(
    own_server: EmbeddedServer, deploy: Deploy, eventually: Eventually
) -> None:
    """The relay looks for what it has read already, and does not wait until another would take it over."""
    deployment = deploy(own_server.url, CODE)
    book = deployment.book
    with Proxy(unquote(own_server.url.removeprefix("unix://"))) as proxy:
        relay = Relay(proxy.url, "default", "relay", deployment.registry.catalog)
        relay.start()
        eventually(lambda: book.redis.exists(KEYS.outbox))
        proxy.cut(Reply(b"XREADGROUP", b"follow_up"))
        follow_up = b'{"kind":"invoke","function":"wait_for","data":{"path":"nowhere"},"delay_s":0}'
        book.redis.xadd(KEYS.outbox, {"parent": "default-" + "0" * 26, "follow_up": follow_up})
        eventually(lambda: book.redis.xlen(KEYS.stream) == 1, TAKE_OVER_S / 2)
        assert proxy.has_cut.is_set()
        relay.close()
        relay._thread.join(5)


def test_rubbish_in_an_outbox_is_set_aside(redis_url: str, deploy: Deploy, eventually: Eventually) -> None:
    """With the reason, once, and what comes behind it leaves."""
    deployment = deploy(redis_url, CODE)
    redis, parent = deployment.book.redis, {"parent": "default-" + "0" * 26}
    rubbish = (b"\xff", b"no json", b"7", b"[]", b"{}", b'{"kind":"emit"}', b'{"kind":"invoke","function":[]}')
    for follow_up in rubbish:
        redis.xadd(KEYS.outbox, {**parent, "follow_up": follow_up})
    redis.xadd(KEYS.outbox, {"follow_up": b"{}"})
    redis.xadd(KEYS.outbox, {"odd": b"\xff"})
    redis.xadd(KEYS.outbox, {**parent, "follow_up": b'{"kind":"invoke","function":"wait_for","data":{}}'})
    relay = Relay(redis_url, "default", "relay", deployment.registry.catalog)
    relay.start()
    eventually(lambda: redis.xlen(KEYS.stream) == 1)
    reasons = [fields[b"reason"] for _, fields in redis.xrange(KEYS.parked)]
    assert len(reasons) == len(rubbish) + 2
    assert all(reasons)
    eventually(lambda: redis.xlen(KEYS.outbox) == 0)
    relay.close()
    relay._thread.join(5)


def test_a_server_that_becomes_a_replica_is_left(own_server: EmbeddedServer, deploy: Deploy, eventually: Eventually) -> None:
    """Its address may lead to its successor by now: who was refused asks there next."""
    deployment = deploy(own_server.url, CODE)
    book = deployment.book
    (invocation_id,) = deployment.accept("wait_for", {"path": "nowhere"})
    claim = book.claim()
    with ThreadPoolExecutor(1) as thread:
        waits = thread.submit(book.worker.deliveries, "default", "one", count=1, block_s=5)
        eventually(lambda: book.redis.info("clients")["blocked_clients"] == 1)
        book.redis.replicaof("127.0.0.1", 1)
        with pytest.raises(LedgerUnavailableError, match="UNBLOCKED"):
            waits.result()
    for write in (lambda: book.accept(), lambda: book.finish(claim)):
        with pytest.raises(LedgerUnavailableError):
            write()
    assert book.edge._intake._lanes["default"].wire._connection is None
    assert book.worker._wire._connection is None
    book.redis.replicaof("NO", "ONE")
    assert book.finish(claim) == "succeeded"
    assert book.record(invocation_id).status == "succeeded"


def test_leases_and_delays_outlive_an_answer_that_none_expects(
    redis_url: str, deploy: Deploy, work: Work, eventually: Eventually, tmp_path: Path
) -> None:
    """The threads that renew and promote go on: nobody would start them again."""
    deployment = deploy(redis_url, CODE, lease_s=0.5)
    rig = work(deployment)
    (broken,) = deployment.accept("wait_for", {"path": str(tmp_path / "go")})
    eventually(rig.held)
    for key in (KEYS.record(broken), KEYS.due):
        deployment.book.redis.delete(key)
        deployment.book.redis.set(key, "of another type")
    refused = _refused(deployment)
    deployment.book.redis.lpush(KEYS.wake, "1")
    eventually(lambda: _refused(deployment) >= refused + 4)
    deployment.book.redis.delete(KEYS.due)
    (tmp_path / "go").touch()
    delayed = deployment.accept("wait_for", {"path": str(tmp_path / "go")}, delay_s=0.1)
    eventually(lambda: deployment.all_are("succeeded", delayed))
    assert all(thread.is_alive() for thread in rig.threads())


def _refused(deployment: Deployment) -> int:
    """How many script calls have failed on the server."""
    return int(deployment.book.redis.info("commandstats")["cmdstat_evalsha"]["failed_calls"])


def test_a_connection_that_was_reset_is_an_outage_to_the_edge_and_no_defect(own_server: EmbeddedServer, tmp_path: Path) -> None:
    """uvloop raises RuntimeError for a write to it; the acceptance is sent again over a new connection."""

    async def accept(proxy: Proxy) -> list[str]:
        ledger = AsyncLedger(proxy.url, ResultStore(f"file://{tmp_path / 'results'}"))
        outcomes = []
        for _ in range(5):
            outcomes.append((await ledger.accept(acceptance())).outcome)
            connection = ledger._intake._lanes["default"].wire._connection
            await asyncio.to_thread(proxy.sever)
            ends = time.monotonic() + 5
            while not connection._writer.is_closing() and time.monotonic() < ends:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.001)
        await ledger.close()
        return outcomes

    with (
        Proxy(unquote(own_server.url.removeprefix("unix://"))) as proxy,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        assert runner.run(accept(proxy)) == ["new"] * 5
