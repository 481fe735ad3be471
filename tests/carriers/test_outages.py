"""Redis goes away under workers, loses its data, or its connections are reset: what each part makes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import uvloop

from infra.embedded import EmbeddedServer
from runtime.carriers.relay import TAKE_OVER_S, Relay
from runtime.ledger.async_ledger import AsyncLedger
from runtime.ledger.keys import QueueKeys
from runtime.ledger.store import ResultStore
from tests.carriers.rig import Deployment, Rig
from tests.chaos.proxy import Proxy
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
