"""The triggers process alone, as `oncue triggers` is; on demand it kills itself at the worst moment."""

from __future__ import annotations

import os
import signal

from infra import triggers
from infra.settings import Settings
from triggers.queues import engine, rabbitmq
from triggers.queues.handoff import HandOff
from triggers.queues.message import Message, Settled


def main(url: str, kill_after: int = 0, return_after_s: float = rabbitmq.RETURN_AFTER_S) -> None:
    """Listen, until the `kill_after`-th message has been accepted and before the source hears of it; 0: for ever.

    `return_after_s`: as RETURN_AFTER_S.
    """
    rabbitmq.RETURN_AFTER_S = return_after_s
    rabbitmq.LOOK_S = min(rabbitmq.LOOK_S, return_after_s / 4)
    engine.STATUS_S = 0.1  # what is told of sources is what tests wait for
    if kill_after:
        _kill_after(kill_after)
    triggers.main(Settings(redis_url=url))


def _kill_after(accepted: int) -> None:
    take, left = HandOff.take, accepted

    async def fatal(self: HandOff, message: Message) -> Settled:
        nonlocal left
        settled = await take(self, message)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return settled

    HandOff.take = fatal  # type: ignore[method-assign]  # the one way to die between two lines
