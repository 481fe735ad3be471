"""Batches that succeed in part, through real children and a real relay: only what failed runs again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.carriers.relay import Relay
from runtime.ledger.batches import BATCH_EVENT
from tests.carriers.rig import Deployment, Rig

Eventually = Callable[..., object]

CODE = """
    @function(retries=1, backoff_min="0.1s", backoff_max="0.1s")
    @queue("redis://main/orders", batch=10)
    def store(messages: list[dict]) -> list[str]:
        return [message["id"] for message in messages if message["data"]["fails"] > 0]

    @function(retries=0)
    @queue("redis://main/others", batch=10)
    def stray(messages: list[dict]) -> dict:
        return {"failed": ["no such message"]}
"""


def batch(**fails: int) -> bytes:
    messages = [{"id": name, "data": {"fails": count}} for name, count in fails.items()]
    event = {"id": "1", "source": "redis://main/orders", "type": BATCH_EVENT, "time": "2026-01-01T00:00:00+00:00"}
    return json.dumps({**event, "data": {"messages": messages}}, separators=(",", ":")).encode()


def stored(deployment: Deployment) -> list[tuple[str, list[str]]]:
    """Status and message ids of every invocation, in order of acceptance."""
    found = []
    for invocation_id in reversed(deployment.book.all_ids()):
        key = f"oncue:{{default}}:inv:{invocation_id}"
        event: Any = deployment.book.redis.hget(key, "event")
        messages = json.loads(event)["data"]["messages"]
        found.append((deployment.book.record(invocation_id).status, [message["id"] for message in messages]))
    return found


def run(
    redis_url: str, tmp_path: Path, function: str, event: bytes, done: Callable[[Deployment], bool], wait: Eventually
) -> Any:
    deployment = Deployment(redis_url, tmp_path, CODE)
    rig = Rig(deployment)
    relay = Relay(redis_url, "default", "tests", deployment.registry.catalog)
    relay.start()
    try:
        invocation_id = deployment.book.accept(function=function, version=deployment.version, event=event)
        wait(lambda: done(deployment), within_s=30)
        return stored(deployment), deployment.book.record(invocation_id)
    finally:
        relay.close()
        rig.stop()
        relay._thread.join(5)
        deployment.close()


def test_some_messages_of_a_batch_fail(redis_url: str, tmp_path: Path, eventually: Eventually) -> None:
    """The rest has succeeded; a follow-up holds just those, is retried, and ends as a dead letter."""
    found, _ = run(
        redis_url,
        tmp_path,
        "store",
        batch(a=0, b=1, c=0, d=1),
        lambda deployment: [status for status, _ in stored(deployment)] == ["succeeded", "failed"],
        eventually,
    )
    assert found == [("succeeded", ["a", "b", "c", "d"]), ("failed", ["b", "d"])]


def test_a_batch_of_which_nothing_failed(redis_url: str, tmp_path: Path, eventually: Eventually) -> None:
    """It has succeeded, without a follow-up."""
    found, _ = run(
        redis_url,
        tmp_path,
        "store",
        batch(a=0, b=0),
        lambda deployment: stored(deployment)[0][0] == "succeeded",
        eventually,
    )
    assert found == [("succeeded", ["a", "b"])]


def test_a_handler_that_names_a_message_of_another_batch(redis_url: str, tmp_path: Path, eventually: Eventually) -> None:
    """Nobody knows which message was meant, so none counts as done."""
    found, record = run(
        redis_url,
        tmp_path,
        "stray",
        batch(a=0),
        lambda deployment: stored(deployment)[0][0] == "failed",
        eventually,
    )
    assert found == [("failed", ["a"])]
    assert record.error is not None
    assert "'no such message' failed, which is no message of this batch" in record.error["message"]
