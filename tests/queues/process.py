"""The triggers process alone, as `oncue triggers` is: python -m tests.queues.process LEDGER_URL [kill-after N]

With kill-after it kills itself the moment the N-th message has been accepted, before the source hears of it.
"""

from __future__ import annotations

import os
import signal
import sys

from infra import triggers
from infra.settings import Settings
from triggers.queues.handoff import HandOff
from triggers.queues.message import Message, Settled


def kill_after(accepted: int) -> None:
    take, left = HandOff.take, accepted

    async def fatal(self: HandOff, message: Message) -> Settled:
        nonlocal left
        settled = await take(self, message)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return settled

    HandOff.take = fatal  # type: ignore[method-assign]  # the one way to die between two lines


if __name__ == "__main__":
    url, *rest = sys.argv[1:]
    if rest:
        kill_after(int(rest[1]))
    triggers.main(Settings(redis_url=url))
