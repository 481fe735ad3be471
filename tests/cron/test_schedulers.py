"""Whole scheduler processes over one Valkey: killed, with wrong clocks, through deploys and while Redis is away."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from infra.embedded import EmbeddedServer
from runtime.authoring.triggers import CronTrigger
from runtime.ledger.keys import queue_of
from tests.cron.scheduled import Cron
from tests.forked import Forked
from triggers.cron.schedule import Schedule

Start = Callable[..., Forked]
Eventually = Callable[..., object]

SKEWS_S = (-0.4, 0.0, 0.4)


def test_three_schedulers_with_skewed_clocks_killed_25_times(
    cron: Cron, start_scheduler: Start, eventually: Eventually
) -> None:
    """Every slot of every schedule is accepted once, and none is missed."""
    chance = random.Random(11)
    schedules = cron.deploy(
        tick=CronTrigger(every_s=1),
        shaken=CronTrigger(every_s=1, jitter_s=0.5),
        caught_up=CronTrigger(every_s=1, catch_up="all"),
        tock=CronTrigger(every_s=2, catch_up="latest"),
    )
    running = [start_scheduler(skew) for skew in SKEWS_S]
    eventually(lambda: all(len(cron.slots_fired(each)) >= 2 for each in schedules.values()), within_s=20)
    for _ in range(25):
        # At any moment of a slot: before, during and after the decision; but no faster than the machine starts processes.
        due_ms = cron.now_ms() + chance.uniform(200, 900)
        eventually(lambda due_ms=due_ms: cron.now_ms() > due_ms and cron.followers() >= 2, within_s=30)
        victim = chance.randrange(3)
        running[victim].kill()
        running[victim].wait()
        running[victim] = start_scheduler(SKEWS_S[victim])
    last_ms = cron.now_ms()
    eventually(lambda: all(cron.slots_fired(each)[-1] > last_ms for each in schedules.values()), within_s=20)
    for schedule in schedules.values():
        assert cron.misses(schedule) == []
        assert_every_slot_once(cron, schedule)
    accepted = [event["id"] for event in cron.fired()]
    assert len(accepted) == len(set(accepted))


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_local_clock_that_is_set_by_an_hour(
    cron: Cron, start_scheduler: Start, eventually: Eventually, step_s: float
) -> None:
    """A step of the local clock fires nothing early, nothing twice, and delays nothing for long."""
    schedule = cron.deploy(tick=CronTrigger(every_s=1))["tick"]
    start_scheduler(0, step_s, 2.5)
    eventually(lambda: len(cron.slots_fired(schedule)) >= 6, within_s=30)
    assert_every_slot_once(cron, schedule)
    assert cron.misses(schedule) == []
    lateness_ms = [int(event["record"]["accepted_ms"]) - slot_ms(event) for event in cron.fired()]
    assert min(lateness_ms) >= 0
    assert max(lateness_ms) < 5000


def test_a_schedule_changed_by_a_deploy(cron: Cron, start_scheduler: Start, eventually: Eventually) -> None:
    """Within a second the old schedule fires no more and the new one does, without a restart; no slot fires twice."""
    old = cron.deploy(tick=CronTrigger(every_s=1))["tick"]
    for skew in SKEWS_S[:2]:
        start_scheduler(skew)
    eventually(lambda: len(cron.slots_fired(old)) >= 2, within_s=20)
    switched_ms = cron.now_ms()
    schedules = cron.deploy(tick=CronTrigger(expression="* * * * *"), tock=CronTrigger(every_s=2))
    new = schedules["tock"]
    assert new.id != old.id
    assert schedules["tick"].id != old.id
    eventually(lambda: cron.redis.exists(f"oncue:{{default}}:cron:{new.id}"), within_s=1)
    eventually(lambda: len(cron.slots_fired(new)) >= 2, within_s=20)
    assert max(cron.slots_fired(old)) <= switched_ms + 50
    # Watched within a second: the first slot after that one has fired.
    assert min(cron.slots_fired(new)) <= switched_ms + 1000 + 2000
    assert_every_slot_once(cron, new)
    cron.drop()
    dropped_ms = cron.now_ms()
    assert cron.redis.exists(f"oncue:{{default}}:cron:{new.id}")
    eventually(lambda: cron.redis.smembers("oncue:{default}:cron") == set())
    eventually(lambda: cron.now_ms() > dropped_ms + 1500)
    assert max(cron.slots_fired(new)) <= dropped_ms + 50


def test_a_schedule_that_comes_back_fires_nothing_of_its_absence(
    cron: Cron, start_scheduler: Start, eventually: Eventually
) -> None:
    """A schedule that was removed and is deployed again begins anew, whatever its catch-up says."""
    schedule = cron.deploy(tick=CronTrigger(every_s=1, catch_up="all"))["tick"]
    start_scheduler()
    eventually(lambda: len(cron.slots_fired(schedule)) >= 1, within_s=20)
    cron.drop()
    eventually(lambda: cron.redis.smembers("oncue:{default}:cron") == set())
    removed_ms = cron.now_ms()
    eventually(lambda: cron.now_ms() > removed_ms + 1500)
    returned_ms = cron.now_ms()
    assert cron.deploy(tick=schedule.trigger)["tick"].id == schedule.id
    eventually(lambda: cron.slots_fired(schedule)[-1] > returned_ms)
    assert [slot for slot in cron.slots_fired(schedule) if removed_ms + 50 < slot <= returned_ms] == []
    assert cron.misses(schedule) == []


def test_a_waiting_slot_runs_as_soon_as_the_one_before_is_over(
    cron: Cron, start_scheduler: Start, eventually: Eventually
) -> None:
    """With overlap="queue" the end of an invocation starts the next one, without waiting for a slot."""
    schedule = cron.deploy(tick=CronTrigger(every_s=1, overlap="queue"))["tick"]
    start_scheduler()
    waiting = f"oncue:{{default}}:cron:{schedule.id}:waiting"
    eventually(lambda: cron.redis.llen(waiting) >= 2, within_s=20)
    cron.finish(cron.claim())
    ended_ms = cron.now_ms()
    eventually(lambda: len(cron.slots_fired(schedule)) == 2)
    second = cron.fired()[1]
    assert int(second["record"]["accepted_ms"]) - ended_ms < 1000
    assert queue_of(cron.claim().id) == "default"


def test_redis_away_for_some_seconds(tmp_path: Path, start_scheduler: Start, eventually: Eventually) -> None:
    """While Redis is away a scheduler idles; once it is back, the slots of that time are decided, each once."""
    with EmbeddedServer(tmp_path / "data") as server:
        cron = Cron(server.url)
        schedule = cron.deploy(tick=CronTrigger(every_s=1))["tick"]
        process = start_scheduler(url=server.url)
        eventually(lambda: len(cron.slots_fired(schedule)) >= 2, within_s=20)
        before = cron.slots_fired(schedule)[-1]
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        busy_s, gone = cpu_s(process), before
        eventually(lambda: now_ms() > gone + 3000)
        assert cpu_s(process) - busy_s < 0.5
        server.launch()
        eventually(lambda: is_up(cron) and cron.slots_fired(schedule)[-1] > before + 4000, within_s=20)
        assert_every_slot_once(cron, schedule)
        assert cron.misses(schedule) == []
        cron.close()


def assert_every_slot_once(cron: Cron, schedule: Schedule) -> None:
    slots = sorted(slot_ms(event) for event in cron.fired() if event["subject"] == schedule.id)
    assert schedule.trigger.every_s is not None
    every_ms = int(schedule.trigger.every_s * 1000)
    assert slots == list(range(slots[0], slots[-1] + 1, every_ms))


def slot_ms(event: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(event["time"]).timestamp() * 1000)


def now_ms() -> float:
    return time.time() * 1000


def is_up(cron: Cron) -> bool:
    try:
        return bool(cron.redis.ping())
    except redis.RedisError:
        return False


def cpu_s(process: Forked) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
