"""What no TTL removes: results in the object store, and the names of workers that were killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from runtime.ledger.keys import RELAY_GROUP, QueueKeys, new_id
from runtime.ledger.outbox import Outbox
from runtime.ledger.records import ResultInfo
from runtime.ledger.store import ResultStore
from runtime.ledger.sweeper import Sweeper
from tests.ledger.book import Book

KEYS = QueueKeys("default")


def test_results_whose_time_is_over(book: Book, tmp_path: Path) -> None:
    """What a record answers for stays, and so does what may be another installation's, until no result is as old."""
    store = ResultStore(f"file://{tmp_path / 'results'}")
    info = msgspec.json.encode(ResultInfo(media_type="text/plain", size=5, sha256="", place="store"))
    over, kept, runs = (book.accept() for _ in range(3))
    first, second, _ = book.claims(3)
    book.finish(first, result=info, body=b"", result_ttl_s=0)
    book.finish(second, result=info, body=b"")
    unknown, ancient = new_id("default"), new_id("default")
    for each in (over, kept, runs, unknown, ancient):
        store.put(each, b"large")
    os.utime(tmp_path / "results" / "results" / ancient, (time.time() - 31 * 86400,) * 2)
    sweeper = Sweeper(book.worker, store)
    while book.record(over).result_until_ms == int(time.time() * 1000):
        pass
    assert sweeper.sweep() == 2
    assert {each: store.read(each) for each in (over, ancient)} == {over: None, ancient: None}
    assert {store.read(each) for each in (kept, runs, unknown)} == {b"large"}
    assert sweeper.sweep() == 0


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
