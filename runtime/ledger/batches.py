"""Batches of messages: one invocation for all of them, while each keeps its own dedupe key."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runtime.ledger.intake import INDEX_ENTRIES, INDEX_TTL_S
from runtime.ledger.keys import QUEUES, QueueKeys
from runtime.ledger.reads import Reads
from runtime.ledger.records import Acceptance, msgpack_text

#: The type of the event of a batch; its data is {"messages": [{"id", "data", …}, …]}.
BATCH_EVENT = "oncue.queue.batch"

_PACK = msgspec.msgpack.Encoder().encode


async def accept_batch(reads: Reads, acceptance: Acceptance, digests: Sequence[str]) -> list[int]:
    """Accept an invocation for messages with these dedupe digests ("" for a message that has none).

    Returns the positions of messages that were accepted before; then nothing was written, and the caller
    asks again without them. Empty: accepted. Safe to repeat under the same id.

    Raises:
        LedgerUnavailableError: nothing is known to be written.
    """
    keys = QueueKeys(acceptance.queue)
    packed = _PACK(
        (
            acceptance.id,
            acceptance.function,
            acceptance.version,
            msgpack_text(acceptance.event),
            acceptance.key or acceptance.id,
        )
    )
    await reads.do("SADD", QUEUES, acceptance.queue)
    known: list[int] = await reads.run(
        "accept_batch",
        keys.base,
        INDEX_ENTRIES,
        INDEX_TTL_S * 1000,
        int(acceptance.dedupe_ttl_s * 1000),
        packed,
        *digests,
    )
    return known
