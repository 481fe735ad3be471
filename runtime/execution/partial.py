"""Batches that succeed in part: the handler names the messages that failed, and only these run again.

    messages 1 2 3 4 ── handler returns ["2", "4"] ── succeeded, with a follow-up invocation of messages 2 4
                                 messages 2 4 ── returns ["2", "4"] ── nothing got better: the attempt has failed, and is retried

So every follow-up is smaller than what it follows, and what goes on failing ends as a dead letter that holds
the failing messages only. The follow-up leaves with `finish`, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from runtime.execution.endings import Ending, Failure
from runtime.ledger.batches import BATCH_EVENT
from runtime.ledger.records import Claim

_MARK = f'"{BATCH_EVENT}"'.encode()


@dataclass(frozen=True, slots=True)
class Part:
    """What of a batch has failed: either all of it, or what the follow-up is for."""

    failure: Failure | None = None
    #: the data of the follow-up
    data: dict[str, Any] | None = None


def part_failed(claim: Claim, ending: Ending) -> Part | None:
    """Return what of a batch has failed by its handler's own word; None for all other endings.

    A handler names messages by returning a list of their ids, or {"failed": [ids]}.
    """
    if _MARK not in claim.event or ending.media_type != "application/json" or ending.body[:1] not in (b"[", b"{"):
        return None
    event = msgspec.json.decode(claim.event)
    if event["type"] != BATCH_EVENT:
        return None
    named = _named(msgspec.json.decode(ending.body))
    if not named:
        return None
    messages = event["data"]["messages"]
    failed = [message for message in messages if message["id"] in named]
    unknown = named - {message["id"] for message in messages}
    if unknown:
        # Which message was meant nobody knows: none may count as done.
        return Part(_failure(f"the handler says that {min(unknown)!r} failed, which is no message of this batch"))
    if len(failed) == len(messages):
        return Part(_failure(f"all {len(messages)} messages failed: {', '.join(m['id'] for m in messages[:5])}"))
    return Part(data={"messages": failed})


def _named(result: Any) -> set[str]:
    if isinstance(result, dict):
        result = result.get("failed")
    return {str(each) for each in result} if isinstance(result, list) else set()


def _failure(message: str) -> Failure:
    return Failure("batch", "BatchFailed", message)
