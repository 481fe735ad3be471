"""How late what was delayed starts, over both carriers: its own clock against the time it was due."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.carriers.rabbit import Rabbit
from tests.carriers.rig import Deployment, Rig

Eventually = Callable[..., object]

CODE = """
@function
def prompt() -> float:
    return time.time() * 1000

@function(retries=1)
def late(ctx: Context) -> list[float]:
    known = ctx.state_dir / ctx.id
    with known.open("a") as file:
        file.write(f"{time.time() * 1000}\\n")
    if ctx.attempt == 1:
        raise Retry("once more", after=0.3)
    return [float(line) for line in known.read_text().split()]
"""

#: How exact a delay is where nothing else runs.
EXACT_MS = 50

DELAYS_MS = range(250, 1500, 125)

#: Other tests may keep the machine busy: a start may then take some times as long as it does without any delay, and
#: one good round of three is enough.
BUSY_FACTOR = 3
ROUNDS = 3


def usual_ms(deployment: Deployment, eventually: Eventually) -> float:
    """What eight of ten invocations without a delay need from their acceptance to their start."""
    took = []
    for _ in range(10):
        (accepted,) = deployment.accept("prompt")
        eventually(lambda accepted=accepted: deployment.all_are("succeeded", [accepted]))
        took.append(deployment.result(accepted) - deployment.book.record(accepted).accepted_ms)
    return float(sorted(took)[7])


@pytest.mark.parametrize("carrier", ["redis", "rabbitmq"])
def test_delays_and_retries_start_on_time(
    redis_url: str,
    deploy: Callable[..., Deployment],
    work: Callable[..., Rig],
    eventually: Eventually,
    request: pytest.FixtureRequest,
    carrier: str,
) -> None:
    """None starts early; eight of ten start within 50 ms of their time, after a delay and after `Retry(after=…)`."""
    amqp = Rabbit(request.getfixturevalue("rabbitmq_server")).url if carrier == "rabbitmq" else None
    deployment = deploy(redis_url, CODE)
    work(deployment, amqp=amqp)
    warm = deployment.accept("late")
    eventually(lambda: deployment.all_are("succeeded", warm))
    for _ in range(ROUNDS):
        most_ms = max(EXACT_MS, BUSY_FACTOR * usual_ms(deployment, eventually))
        accepted = [deployment.accept("late", delay_s=delay_ms / 1000)[0] for delay_ms in DELAYS_MS]
        eventually(lambda accepted=accepted: deployment.all_are("succeeded", accepted))
        starts = [deployment.result(each) for each in accepted]
        records = [deployment.book.record(each) for each in accepted]
        delayed_until = [record.accepted_ms + delay_ms for record, delay_ms in zip(records, DELAYS_MS, strict=True)]
        retried_at = [record.due_ms for record in records]
        late_ms = [
            [start[attempt] - due for start, due in zip(starts, dues, strict=True)]
            for attempt, dues in enumerate((delayed_until, retried_at))
        ]
        assert min(map(min, late_ms)) >= 0
        if all(sorted(each)[7] <= most_ms for each in late_ms):
            return
    pytest.fail(f"in milliseconds after a delay, and after a retry, they started {late_ms} late, of {most_ms:.0f}")
