"""The keys that scripts write are those that keys.py names, and each is bounded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from infra.embedded import EmbeddedServer
from infra.port import free_port_for
from runtime.ledger.events import Occurrence
from runtime.ledger.keys import FOLDERS, NEWS_PATTERN, QUEUES, QueueKeys
from runtime.ledger.operations import Operations, Target
from runtime.ledger.outbox import Outbox
from runtime.ledger.scripts import Script, script
from tests.ledger.book import Book, acceptance

#: Without a TTL: bounded by the work that waits, by a cap, or by the number of functions and versions.
BOUNDED = ("stream", "due", "wake", "dead", "parked", "stats", "versions", "outbox")


def live(book: Book, queue: str) -> list[str]:
    """One invocation for each way through the ledger; returns the ids."""
    made = [book.accept(queue=queue, dedupe="digest", fingerprint="f", watch=True) for _ in range(1)]
    made += [book.accept(queue=queue) for _ in range(4)]
    made.append(book.accept(queue=queue, delay_s=3600))
    book.redis.xadd(QueueKeys(queue).stream, {"not": "ours"})
    succeeded, retried, failed, cancelled, handed_back = book.claims(10, queue=queue)
    book.worker.append_output(succeeded, [b'{"kind":"log"}'], b'{"fraction":1}')
    book.worker.renew(queue, "one", [succeeded])
    book.finish(succeeded, output=[b'{"kind":"log"}'], follow_ups=[b'{"kind":"emit","type":"a","data":1}'])
    book.finish(retried, "retrying", retry_in_s=0, output=[b'{"kind":"log"}'])
    book.finish(failed, "failed", output=[b'{"kind":"log"}'])
    book.finish(cancelled, "cancelled", output=[b'{"kind":"log"}'])
    book.worker.hand_back(queue, [handed_back])
    book.worker.promote(queue)
    for claim in book.claims(10, queue=queue):
        book.finish(claim)
    return made


def test_a_whole_life_touches_only_keys_that_are_named(book: Book) -> None:
    """prelude.lua and keys.py build the same names: every key found is one that keys.py can name."""
    made = live(book, "media")
    keys = QueueKeys("media")
    named = {getattr(keys, name) for name in BOUNDED} | {keys.index(), keys.index("thumbnail"), QUEUES}
    for each in made:
        named |= {keys.record(each), keys.result(each), keys.output(each)}
    named.add(f"{keys.base}:key:digest")
    found = book.keys()
    assert found <= named
    # and the names are in use: a wrong one would be missing here
    missing = {name for name in BOUNDED if getattr(keys, name) not in found} | ({QUEUES} - found)
    assert missing == set()
    assert {keys.result(made[0]), keys.output(made[0]), keys.record(made[0]), keys.index("thumbnail")} <= found


def test_all_keys_of_a_queue_share_its_hash_tag(book: Book) -> None:
    """A script touches one cluster slot."""
    live(book, "media")
    for key in book.keys() - {QUEUES, FOLDERS}:
        assert re.match(r"oncue:\{media\}:", key), key
    assert NEWS_PATTERN.replace("*", "media") == f"{QueueKeys('media').base}:news"


def test_every_key_has_a_ttl_or_a_bound(book: Book) -> None:
    """Records, results, output, dedupe keys and indexes expire; what does not is bounded by something else."""
    made = live(book, "default")
    keys = QueueKeys("default")
    bounded = {getattr(keys, name) for name in BOUNDED} | {QUEUES}
    waiting = {keys.record(made[-1])}  # scheduled: it gets its TTL when it is final
    found = book.keys()
    without = {key for key in found if book.redis.pttl(key) == -1}
    assert without == (bounded & found) | waiting


def test_a_failed_invocation_and_its_output_stay_for_the_retention(book: Book) -> None:
    """A dead letter keeps its log as long as its record; a success goes with its own shorter TTL."""
    failed, succeeded, retrying = (book.accept() for _ in range(3))
    keys = QueueKeys("default")
    first, second, third = book.claims(3)
    line = [b'{"kind":"log"}']
    book.finish(first, "failed", output=line, record_ttl_s=60)
    book.finish(second, output=line, record_ttl_s=60, result_ttl_s=30)
    book.finish(third, "retrying", output=line, record_ttl_s=60, retry_in_s=7 * 86400)
    month = 30 * 86400
    assert month - 60 < book.redis.ttl(keys.record(failed)) <= month
    assert month - 60 < book.redis.ttl(keys.output(failed)) <= month
    assert month - 60 < book.redis.ttl(keys.output(retrying)) <= month
    assert book.redis.ttl(keys.record(retrying)) == -1
    book.redis.expire(keys.output(retrying), 60)  # a month of retries has passed in silence
    book.redis.zadd(keys.due, {retrying: 0})
    book.worker.promote("default")
    book.finish(book.claim(), "failed")
    assert month - 60 < book.redis.ttl(keys.output(retrying)) <= month
    assert 50 < book.redis.ttl(keys.record(succeeded)) <= 60
    assert 50 < book.redis.ttl(keys.output(succeeded)) <= 60
    assert 20 < book.redis.ttl(keys.result(succeeded)) <= 30


def test_the_list_of_dead_letters_is_trimmed_by_time(book: Book) -> None:
    """A new dead letter drops those beyond the retention."""
    keys = QueueKeys("default")
    book.redis.zadd(keys.dead, {"old": 1})
    invocation_id = book.accept()
    book.finish(book.claim(), "failed")
    assert book.redis.zrange(keys.dead, 0, -1) == [invocation_id.encode()]


def test_an_index_is_trimmed_by_time_and_number(book: Book) -> None:
    """Accepting drops what is too old, and what is too many."""
    keys = QueueKeys("default")
    book.redis.zadd(keys.index(), {"old": 1, **{f"n{n}": 4e12 + n for n in range(100_000)}})
    invocation_id = book.accept()
    assert book.redis.zcard(keys.index()) == 100_000
    assert book.redis.zscore(keys.index(), "old") is None
    assert book.redis.zrange(keys.index("thumbnail"), 0, -1) == [invocation_id.encode()]


def test_a_cluster_takes_every_script(tmp_path: Path, open_book: Callable[..., Book], monkeypatch: pytest.MonkeyPatch) -> None:
    """No script touches two slots: in cluster mode the server would refuse it, whoever owns the slots."""

    def strict(name: str) -> Script:
        # Without a first line of its own a script is let through, for the sake of old ones.
        source = b"#!lua\n" + script(name).source
        return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest())

    monkeypatch.setattr("runtime.ledger.wire.script", strict)
    monkeypatch.setattr("runtime.ledger.reads.script", strict)
    with ClusterNode(tmp_path / "data", "everysec") as server, redis.Redis.from_url(server.url) as connection:
        connection.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while connection.execute_command("CLUSTER", "INFO").splitlines()[0] != b"cluster_state:ok":
            pass
        with pytest.raises(redis.ResponseError, match="slot"):
            connection.eval("#!lua\nredis.call('SET', KEYS[1], 1) redis.call('SET', 'another', 1)", 1, "one")
        book = open_book(server.url, lease_s=0.001)
        made = live(book, "default")
        people = Operations(book.edge, lambda _: Target("media", "v2"))
        dead = book.record(made[2])
        assert dead.status == "failed"
        assert book.run(people.replay(dead)).outcome == "new"
        assert book.run(people.drop([dead])) == 1
        assert book.run(people.cancel(made[-1])) == "scheduled"
        lost = book.accept()
        book.claim()
        while not book.take_over("heir"):
            pass
        outbox = Outbox(server.url, "default", "relay")
        (follow_up,) = outbox.read(count=1, wait_s=0.05) or outbox.read(count=1, wait_s=0.05)
        outbox.publish([Occurrence(id="1", source="/test", type="a", document=b"{}")])
        outbox.accept([acceptance(), acceptance(queue="media")])
        outbox.remove([follow_up[0]])
        outbox.close()
        book.worker.sent("default", book.worker.deliveries("default", "publisher", count=10, block_s=0.05))
        book.worker.unsent("default", "publisher", count=10)
        assert book.record(lost).lost >= 1


class ClusterNode(EmbeddedServer):
    """A cluster of one."""

    def _options(self) -> list[str]:
        # Left out, the bus takes the port 10,000 above, which need not be free and may be none.
        ports = ["--port", str(free_port_for(self)), "--cluster-port", str(free_port_for(self))]
        return [*super()._options(), *ports, "--bind", "127.0.0.1", "--cluster-enabled", "yes"]
