"""`ctx.artifact`: a handler reads the result of another invocation, through the worker."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from runtime.ledger.artifacts import NoArtifactError
from runtime.ledger.records import ResultInfo

Make = Callable[..., Any]

READER = """
from runtime import MissingArtifactError
import hashlib, os, threading, time
@function
def read(id: str, *, ctx: Context):
    artifact = ctx.artifact(id)
    return [hashlib.sha256(artifact.read()).hexdigest(), len(artifact.read()), artifact.media_type, artifact.filename]
@function
def tell(id: str, *, ctx: Context):
    try:
        ctx.artifact(id)
    except MissingArtifactError as error:
        return str(error)
@function
def many(*, ctx: Context):
    found = {}
    def one(name):
        found[name] = ctx.artifact(name).read().decode()
    threads = [threading.Thread(target=one, args=(f"small-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
@function
async def later(id: str, *, ctx: Context):
    print("before")
    return ctx.artifact(id).read().decode()
@function
def forgetful(*, ctx: Context):
    threading.Thread(target=lambda: print("got", len(ctx.artifact("small").read()), flush=True)).start()
    time.sleep(0.05)
@function
def fine(): return 1
"""

LARGE = bytes(range(256)) * 50_000


def read(invocation_id: str) -> tuple[ResultInfo, bytes]:
    """Stand for the ledger: results whose content tells which one was asked for."""
    if invocation_id == "absent":
        raise NoArtifactError("there is no invocation 'absent'")
    if invocation_id == "away":
        raise ConnectionError("Redis is away")
    body = LARGE if invocation_id == "large" else invocation_id.encode()
    return ResultInfo(media_type="image/png", size=len(body), sha256="", filename="é.png"), body


def test_result_of_another_invocation(children: Make) -> None:
    """12 MB come byte for byte, with their media type and name, and the child serves on."""
    sample = children(READER, read=read)
    assert sample.result("read", {"id": "large"}) == [hashlib.sha256(LARGE).hexdigest(), len(LARGE), "image/png", "é.png"]
    assert sample.result("read", {"id": "small"})[1] == 5
    assert sample.result("fine") == 1
    assert sample.pool.size == 1


def test_several_threads_that_ask_at_once(children: Make) -> None:
    """Each gets the answer to its own question."""
    asked = [f"small-{n}" for n in range(8)]
    assert children(READER, read=read).result("many") == {name: name for name in asked}


def test_async_handler_that_asks(children: Make) -> None:
    """A coroutine may ask as well, and what it printed before is kept."""
    sample = children(READER, read=read)
    assert sample.result("later", {"id": "x"}) == "x"
    assert sample.lines("stdout") == ["before"]


def test_thread_that_still_asks_when_its_handler_returns(children: Make) -> None:
    """Its answer comes first: the next call is not taken for it, and runs."""
    asked = threading.Event()

    def slowly(invocation_id: str) -> tuple[ResultInfo, bytes]:
        asked.wait(0.2)
        return read(invocation_id)

    sample = children(READER, read=slowly)
    assert sample.call("forgetful").failure is None
    assert sample.result("fine") == 1
    assert sample.lines("stdout") == ["got 5"]
    assert sample.pool.size == 1


def test_result_that_is_not_there(children: Make) -> None:
    """The handler is told why, by an error of its own kind."""
    assert children(READER, read=read).result("tell", {"id": "absent"}) == "there is no invocation 'absent'"


def test_ledger_that_is_away(children: Make) -> None:
    """The attempt fails as any other does, to be retried; the child stays."""
    sample = children(READER, read=read)
    failure = sample.call("tell", {"id": "away"}).failure
    assert (failure.kind, failure.type, failure.child_died) == ("raised", "OnCueError", False)
    assert "cannot be read now" in failure.message
    assert sample.result("fine") == 1


def test_pool_without_a_ledger(children: Make) -> None:
    """A folder that is tried out before it is deployed has no results to read."""
    assert "without a ledger" in children(READER).result("tell", {"id": "x"})


@pytest.mark.parametrize("id", ["", "\ud800", "x" * 100_000], ids=["empty", "surrogate", "long"])
def test_odd_ids(children: Make, id: str) -> None:
    """Whatever is asked for reaches the worker as a text, and comes back."""
    children(READER, read=lambda asked: (ResultInfo(media_type="text/plain", size=1, sha256=""), b"x")).result(
        "read", {"id": id}
    )


def test_invocation_that_goes_on(children: Make) -> None:
    """What is to follow the invoked function leaves with the invocation, with its data; without `then` nothing is said."""
    sample = children(
        """
        @function
        def chain(ctx: Context):
            ctx.invoke("thumbnail", {"width": 1}, then=("mail", {"to": "ann"}))
            ctx.invoke("thumbnail", then="mail")
            ctx.invoke("thumbnail")
        """
    )
    assert [follow_up.get("then") for follow_up in sample.call("chain").follow_ups] == [
        {"function": "mail", "data": {"to": "ann"}},
        {"function": "mail", "data": {}},
        None,
    ]
