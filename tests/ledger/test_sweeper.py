"""What no TTL removes: results in the object store, and the names of workers that were killed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from infra.embedded import EmbeddedServer
from runtime.ledger import sweeper
from runtime.ledger.keys import RELAY_GROUP, SWEPT, QueueKeys, new_id
from runtime.ledger.outbox import Outbox
from runtime.ledger.records import ResultInfo
from runtime.ledger.store import ResultStore, name_of
from runtime.ledger.sweeper import Sweeper
from tests.ledger.book import Book

KEYS = QueueKeys("default")
DIGEST = hashlib.sha256(b"large").hexdigest()


def test_results_whose_time_is_over(book: Book, tmp_path: Path) -> None:
    """What a record answers for stays, and so does what may be another installation's, until no result is as old.

    What a lost attempt has written goes once another one has succeeded, and nobody ever reads it.
    """
    store = ResultStore(f"file://{tmp_path / 'results'}")
    info = msgspec.json.encode(ResultInfo(media_type="text/plain", size=5, sha256=DIGEST, place="store"))
    over, kept, runs = (book.accept() for _ in range(3))
    first, second, _ = book.claims(3)
    book.finish(first, result=info, body=b"", result_ttl_s=0)
    book.finish(second, result=info, body=b"")
    unknown, ancient = new_id("default"), new_id("default")
    for each in (over, kept, runs, unknown, ancient):
        store.put(each, DIGEST, b"large")
    store.put(kept, "0" * 64, b"late")
    store.put(runs, "0" * 64, b"late")
    os.utime(tmp_path / "results" / "results" / name_of(ancient, DIGEST), (time.time() - 31 * 86400,) * 2)
    sweeper = Sweeper(book.worker, store)
    while book.record(over).result_until_ms == int(time.time() * 1000):
        pass
    assert sweeper.sweep() == 3
    assert {store.read(each, DIGEST) for each in (over, ancient)} == {None}
    assert {store.read(each, DIGEST) for each in (kept, runs, unknown)} == {b"large"}
    assert [store.read(each, "0" * 64) for each in (kept, runs)] == [None, b"late"]
    assert sweeper.sweep() == 0


def test_a_sweep_on_a_full_server_is_made_up_for(
    own_server: EmbeddedServer,
    open_book: Callable[..., Book],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., object],
) -> None:
    """That is an outage, and no defect to be told with a traceback."""
    monkeypatch.setattr(sweeper, "LOOK_S", 0.01)
    book = open_book(own_server.url)
    book.redis.config_set("maxmemory", 1)
    with capture_logs() as told:
        sweeping = Sweeper(book.worker, ResultStore("file:///nowhere"))
        sweeping.start()
        eventually(lambda: book.redis.info("errorstats").get("errorstat_OOM", {}).get("count", 0) > 3)
        book.redis.config_set("maxmemory", 0)
        eventually(lambda: book.redis.exists(SWEPT))
        sweeping.close()
    assert told == []


def test_consumers_of_killed_workers(book: Book) -> None:
    """Those that hold nothing are forgotten after an hour of silence, in the queue's stream and in its outbox."""
    book.accept()
    book.claim(consumer="holds")
    book.claims(consumer="silent")
    outbox = Outbox(str(book.worker.url), "default", "silent")
    for _ in range(2):
        outbox.read(count=1, wait_s=0.01)
    outbox.close()
    Sweeper(book.worker, ResultStore("file:///nowhere")).sweep()
    assert len(book.redis.xinfo_consumers(KEYS.stream, "workers")) == 2
    book.worker.forget_dead_consumers("default", idle_s=-1)
    assert [each["name"] for each in book.redis.xinfo_consumers(KEYS.stream, "workers")] == [b"holds"]
    assert book.redis.xinfo_consumers(KEYS.outbox, RELAY_GROUP) == []
