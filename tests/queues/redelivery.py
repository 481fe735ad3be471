"""Listeners that die at the worst moment, and whether their source has nothing left."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable

from tests.queues.carriers import Carrier, numbered
from tests.queues.rig import Queues

Eventually = Callable[..., object]


def settled(queues: Queues, carrier: Carrier, function: str = "take") -> bool:
    """Stop everything in order, so that the server alone knows what is left; tell whether that is nothing."""
    for process in queues.processes:
        if process.poll() is None:
            assert queues.stop(process) == 0
    return carrier.unsettled(function) == 0


def killed(queues: Queues, carrier: Carrier, eventually: Eventually, **options: object) -> None:
    """Kill five listeners between accept and acknowledgement of one message; then have all that is left taken."""
    queues.deploy(take=carrier.trigger(**options))
    carrier.send(numbered(1))
    for _ in range(5):
        process = queues.listen(kill_after=1)
        eventually(lambda process=process: process.poll() is not None, within_s=30)
        assert process.returncode == -signal.SIGKILL
        assert queues.numbers() == Counter([0])
    carrier.send(numbered(7, start=1))
    queues.listen()
    eventually(lambda: queues.numbers() == Counter(range(8)) and queues.count("duplicate") >= 1, within_s=30)
    assert settled(queues, carrier)
