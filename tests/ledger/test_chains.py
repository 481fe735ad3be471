"""What is kept for a chain: the link that follows a success, and results by id."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from runtime.ledger.artifacts import Artifacts, NoArtifactError
from runtime.ledger.keys import QueueKeys
from runtime.ledger.records import ResultInfo
from runtime.ledger.store import ResultStore
from tests.ledger.book import Book

LINK = {"kind": "then", "function": "mail", "data": {"to": "ann"}}
CHAINED = {"then": json.dumps(LINK)}


def links(book: Book) -> list[object]:
    """What waits in the outbox, as (parent, follow-up)."""
    entries = book.redis.xrange(QueueKeys("default").outbox)
    return [(fields[b"parent"].decode(), json.loads(fields[b"follow_up"])) for _, fields in entries]


def test_link_of_an_invocation(book: Book) -> None:
    """It leaves with the success, once, and not before; an attempt that fails keeps it back."""
    first = book.accept(more=CHAINED)
    assert book.finish(book.claim(), "failed", error=b"{}") == "failed"
    assert links(book) == []
    second = book.accept(more=CHAINED)
    claim = book.claim()
    assert links(book) == []
    assert book.finish(claim) == "succeeded"
    assert book.finish(claim) == "stale"
    assert links(book) == [(second, LINK)]
    assert first != second


@pytest.fixture
def artifacts(redis_url: str, tmp_path: Path) -> Artifacts:
    """Results of the shared server, and of a store in a directory."""
    store = ResultStore(tmp_path.as_uri())
    store.put("default-" + "1" * 26, info(b"large").sha256, b"large")
    return Artifacts(redis_url, store)


def info(body: bytes, place: str = "redis") -> ResultInfo:
    """Describe a PNG."""
    known = {"media_type": "image/png", "size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "filename": "a.png"}
    return msgspec.convert({**known, "place": place}, ResultInfo)


def test_results_by_id(book: Book, artifacts: Artifacts) -> None:
    """Small, empty and large ones are read from where they are kept, with what is known of them."""
    for body, place, id in ((b"small", "redis", None), (b"", "redis", None), (b"large", "store", "default-" + "1" * 26)):
        accepted = book.accept(more={}, **({"id": id} if id else {}))
        described = info(body, place)
        kept = body if place == "redis" else b""
        assert book.finish(book.claim(), result=msgspec.json.encode(described), body=kept) == "succeeded"
        assert artifacts.read(accepted) == (described, body)


def test_results_that_are_not_there(book: Book, artifacts: Artifacts) -> None:
    """No id, no record, no success yet, and a result that has expired: each is told apart."""
    waiting = book.accept()
    cases = {"../etc": "there is no invocation", "default-" + "0" * 26: "there is no invocation", waiting: "it is queued"}
    for id, words in cases.items():
        with pytest.raises(NoArtifactError, match=words):
            artifacts.read(id)
    assert book.finish(book.claim(), result=msgspec.json.encode(info(b"x")), body=b"x") == "succeeded"
    book.redis.delete(QueueKeys("default").result(waiting))
    with pytest.raises(NoArtifactError, match="has expired"):
        artifacts.read(waiting)
