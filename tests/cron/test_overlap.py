"""Slots that come while the invocation before them is not over, and how many of them are kept."""

from __future__ import annotations

from runtime.authoring.triggers import CronTrigger
from runtime.ledger.schedules import FIRES_LISTED, MOST_WAITING
from tests.cron.scheduled import Cron


def test_overlap_skip_while_the_one_before_runs(cron: Cron) -> None:
    """Slots that come while an invocation of the schedule is not over are listed as missed; the next one fires."""
    schedule = cron.deploy(tick=CronTrigger(every_s=1, overlap="skip"))["tick"]
    cron.look(schedule)
    cron.away_for(schedule, 3)
    cron.look(schedule)
    fired = cron.slots_fired(schedule)
    assert len(fired) == 1
    assert [reason for _, reason in cron.misses(schedule)] == ["overlap", "overlap"]
    cron.finish(cron.claim())
    cron.look(schedule, known_mark_ms=0)
    cron.away_for(schedule, 1)
    cron.look(schedule)
    assert len(cron.slots_fired(schedule)) == 2


def test_overlap_queue_runs_slots_one_after_the_other(cron: Cron) -> None:
    """Slots that come while an invocation runs wait for it, in order, and none is lost."""
    schedule = cron.deploy(tick=CronTrigger(every_s=1, overlap="queue"))["tick"]
    cron.look(schedule)
    cron.away_for(schedule, 3)
    state = cron.look(schedule)
    assert state is not None
    assert (state.accepted, state.waiting) == (1, 2)
    first = cron.slots_fired(schedule)[0]
    for n in range(3):
        cron.finish(cron.claim())
        cron.redis.hset(f"oncue:{{default}}:cron:{schedule.id}", "mark", cron.now_ms())
        cron.look(schedule)
        assert cron.slots_fired(schedule)[: n + 2] == [first + 1000 * k for k in range(min(n + 2, 3))]


def test_more_slots_than_are_kept(cron: Cron) -> None:
    """So many slots wait and so many fires are listed; what is beyond is listed as missed, and counted in full."""
    queued = CronTrigger(every_s=1, overlap="queue", catch_up="all", max_catch_up=2000)
    schedules = cron.deploy(queued=queued, allowed=queued.model_copy(update={"overlap": "allow"}))
    states = {}
    for name, schedule in schedules.items():
        cron.look(schedule)
        cron.away_for(schedule, 1100)
        seen_ms = cron.now_ms() - 1_100_000
        rows = [schedule.row(seen_ms + 1000 * n) for n in range(1, MOST_WAITING + 3)]
        states[name] = cron.decide(schedule, seen_ms=seen_ms, older=0, rows=rows)
    counted = {name: (state.accepted, state.waiting, state.missed) for name, state in states.items()}
    assert counted == {"queued": (1, MOST_WAITING, 1), "allowed": (MOST_WAITING + 2, 0, 0)}
    assert len(cron.slots_fired(schedules["allowed"])) == FIRES_LISTED
    document = cron.ask(lambda api: api.get(schedules["allowed"].id))
    assert document["fired"] == MOST_WAITING + 2
