"""How the sources of all triggers processes are doing, told through Redis: for `readyz`, lists and pages.

oncue:sources   hash   "<process> <source id>" -> JSON {source, function, state, reason, since_ms, counts, told_ms}
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import msgspec
import structlog

from runtime.ledger.reads import Reads
from runtime.ledger.wire import LedgerUnavailableError
from triggers.queues.listener import Report
from triggers.queues.source import Source

#: The hash that holds them.
SOURCES = "oncue:sources"
#: Seconds between two reports of a process; what is older than three of them is nobody's any more.
STATUS_S = 1.0
_STALE_MS = 3 * STATUS_S * 1000

_JSON = msgspec.json.Encoder().encode


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One source as one process keeps it. Times are ms since 1970, by that process's clock."""

    source: str
    function: str
    state: Literal["connecting", "running", "away", "refused"]
    reason: str
    since_ms: int
    counts: dict[str, int]
    told_ms: int


async def tell(reads: Reads, process: str, reports: Sequence[tuple[Source, Report]]) -> None:
    """Write how this process's sources are doing. While Redis is away nothing is told."""
    try:
        now_ms = int(time.time() * 1000)
        words: list[str | bytes] = []
        for source, report in reports:
            status = SourceStatus(
                source=source.url,
                function=source.function.name,
                state=report.state,
                reason=report.reason,
                since_ms=int(report.since * 1000),
                counts=dict(report.counts),
                told_ms=now_ms,
            )
            words += (f"{process} {source.id}", _JSON(status))
        gone = [
            field
            for field, status in await _all(reads)
            if (field.startswith(f"{process} ") and field not in words) or status.told_ms < now_ms - 10 * _STALE_MS
        ]
        if gone:
            await reads.do("HDEL", SOURCES, *gone)
        if words:
            await reads.do("HSET", SOURCES, *words)
    except LedgerUnavailableError:
        return
    except Exception:  # noqa: BLE001  # what is told of sources must not end them
        structlog.get_logger("oncue.queues").exception("the state of the sources could not be told")


async def forget(reads: Reads, process: str) -> None:
    """Take a process that stops off the list."""
    await tell(reads, process, ())


async def statuses(reads: Reads) -> list[SourceStatus]:
    """Return how every source is doing, once for each process that keeps it.

    Raises:
        LedgerUnavailableError: Redis is away.
    """
    now_ms = time.time() * 1000
    found = [status for _, status in await _all(reads) if status.told_ms > now_ms - _STALE_MS]
    return sorted(found, key=lambda status: (status.function, status.source))


async def _all(reads: Reads) -> list[tuple[str, SourceStatus]]:
    reply = await reads.do("HGETALL", SOURCES)
    return [
        (field.decode(), msgspec.json.decode(document, type=SourceStatus))
        for field, document in zip(reply[::2], reply[1::2], strict=True)
    ]
