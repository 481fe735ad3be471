"""What one look decides: which slots are accepted, which wait, which are listed as missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from runtime.authoring.triggers import CronTrigger
from runtime.ledger.keys import QueueKeys, queue_of
from runtime.ledger.schedules import GRACE_S, MISSED_LISTED, STATE_TTL_S
from runtime.ledger.wire import LedgerUnavailableError
from tests.cron.scheduled import Cron
from triggers.cron.schedule import Schedule, moment

SECONDLY = CronTrigger(every_s=1)


def test_a_new_schedule_fires_nothing_of_the_past(cron: Cron) -> None:
    """The mark of a schedule that is seen for the first time is the present."""
    schedule = cron.deploy(tick=SECONDLY)["tick"]
    before_ms = cron.now_ms()
    state = cron.look(schedule)
    assert state is not None
    assert before_ms <= state.mark_ms <= cron.now_ms()
    assert cron.fired() == []


def test_the_event_of_a_slot(cron: Cron) -> None:
    """The event names the schedule and the slot; the idempotency key and the id belong to the slot."""
    schedule = cron.deploy(tick=SECONDLY)["tick"]
    cron.look(schedule)
    cron.away_for(schedule, 2)
    cron.look(schedule)
    event = cron.fired()[0]
    slot = event["time"]
    assert event["type"] == "oncue.cron"
    assert event["source"] == "cron:tick"
    assert event["subject"] == schedule.id
    assert event["data"] == {"scheduled_for": slot, "schedule": "every 1s"}
    assert event["record"]["key"] == f"cron:{schedule.id}@{slot}"
    assert event["record"]["version"] == schedule.function.version
    assert slot == moment(cron.slots_fired(schedule)[0]).isoformat()


def test_the_id_of_a_slot_cannot_be_worked_out(cron: Cron) -> None:
    """It is mixed with the queue's salt: each installation has an id of its own for one slot, and names it once."""
    schedule = cron.deploy(tick=SECONDLY)["tick"]
    row = schedule.row(cron.now_ms() - 1000)
    found = set()
    for _ in range(2):
        for _ in range(2):
            cron.decide(schedule, seen_ms=row.slot_ms - 1, older=0, rows=[row])
            cron.away_for(schedule, 5)
        ((made, _),) = cron.redis.zrange("oncue:{default}:index", 0, -1, withscores=True)
        assert queue_of(made) == "default"
        assert made[:-16] == row.id[:-16]
        found.add(made)
        cron.redis.delete("oncue:{default}:index", "oncue:{default}:salt", f"oncue:{{default}}:inv:{made}")
        cron.away_for(schedule, 5)
    assert len(found | {row.id}) == 3


def test_looking_again_and_again_decides_a_slot_once(cron: Cron) -> None:
    """A mark that is set back, as by a backup that is put back, makes no slot fire twice."""
    schedule = cron.deploy(tick=SECONDLY)["tick"]
    cron.look(schedule)
    for _ in range(5):
        cron.away_for(schedule, 4)
        cron.look(schedule)
    fired = cron.slots_fired(schedule)
    assert len(fired) >= 4
    assert len(set(fired)) == len(fired)
    assert len(cron.fired()) == len(fired)


def test_a_lost_mark_is_put_back_by_the_scheduler_that_knew_it(cron: Cron) -> None:
    """A scheduler that has watched goes on from where it left off when Redis has lost the mark."""
    schedule = cron.deploy(tick=SECONDLY)["tick"]
    cron.await_quiet()
    cron.look(schedule, known_mark_ms=cron.now_ms() - 3000)
    assert len(cron.slots_fired(schedule)) == 3


@pytest.mark.parametrize(
    ("policy", "fires"), [({"catch_up": "skip"}, 0), ({"catch_up": "latest"}, 1), ({"catch_up": "all", "max_catch_up": 7}, 7)]
)
def test_an_outage_of_ten_minutes(cron: Cron, policy: dict[str, object], fires: int) -> None:
    """skip runs nothing of it, latest the last slot, all the newest ones up to the bound; all else is listed as missed."""
    schedule = cron.deploy(tick=CronTrigger(every_s=20, **policy))["tick"]
    cron.look(schedule)
    cron.away_for(schedule, 600)
    cron.look(schedule)
    fired, missed = cron.slots_fired(schedule), cron.misses(schedule)
    # A slot of the last seconds is on time and fires whatever the policy; `latest` then needs no other.
    now_ms = cron.now_ms()
    on_time = [slot for slot in fired if slot > now_ms - GRACE_S * 1000]
    assert len(fired) == (max(fires, len(on_time)) if policy["catch_up"] == "latest" else fires + len(on_time))
    assert {reason for _, reason in missed} == {"late"}
    everything = sorted([*fired, *(slot for slot, _ in missed)])
    assert everything == list(range(everything[0], everything[0] + 20_000 * 30, 20_000))
    assert fired == everything[len(everything) - len(fired) :]


def test_an_outage_of_a_week_is_counted_in_full_and_listed_in_part(cron: Cron) -> None:
    """The list of missed slots is bounded; their number is not lost."""
    schedule = cron.deploy(tick=CronTrigger(every_s=10))["tick"]
    cron.look(schedule)
    cron.away_for(schedule, 7 * 86400)
    cron.look(schedule)
    assert len(cron.misses(schedule)) == MISSED_LISTED
    (document,) = cron.ask(lambda schedules: schedules.list())
    assert document["missed"] + document["fired"] == pytest.approx(7 * 8640, abs=2)


def test_two_schedulers_that_saw_the_same_mark(cron: Cron) -> None:
    """What one has decided the other does not list or count again; what only the second one saw is decided."""
    schedule = cron.deploy(tick=CronTrigger(every_s=60))["tick"]
    cron.look(schedule)
    cron.away_for(schedule, 86400)
    seen_ms = int(cron.redis.hget(f"oncue:{{default}}:cron:{schedule.id}", "mark"))
    old = [seen_ms + 1000 * n for n in (1, 2, 3)]
    decisions = [cron.decide(schedule, seen_ms=seen_ms, older=500, rows=rows) for rows in (old, old, [*old, old[-1] + 1000])]
    assert [decision.missed for decision in decisions] == [503, 0, 1]
    assert [slot for slot, _ in cron.misses(schedule)] == [*old, old[-1] + 1000]
    assert decisions[-1].mark_ms == old[-1] + 1000


def test_the_clock_of_redis_set_back_by_an_hour(cron: Cron) -> None:
    """The slots of that hour are over, and none of them fires again; the mark stays where it was."""
    schedule = cron.deploy(tick=CronTrigger(every_s=1, catch_up="all"))["tick"]
    cron.look(schedule)
    cron.away_for(schedule, -3600)
    mark = cron.redis.hget(f"oncue:{{default}}:cron:{schedule.id}", "mark")
    for known_mark_ms in (None, cron.now_ms() - 5000):
        state = cron.look(schedule, known_mark_ms)
        assert state is not None
        assert state.mark_ms == int(mark)
    assert cron.fired() == []
    assert cron.misses(schedule) == []


def test_a_schedule_that_is_due_once_a_year(cron: Cron) -> None:
    """A look at which nothing is due keeps the mark and the pause from expiring."""
    schedule = cron.deploy(yearly=CronTrigger(expression="@yearly"))["yearly"]
    cron.look(schedule)
    key = f"oncue:{{default}}:cron:{schedule.id}"
    assert 31 * 86400 < cron.redis.ttl(key) <= STATE_TTL_S
    cron.redis.expire(key, 86400)
    cron.look(schedule)
    assert 31 * 86400 < cron.redis.ttl(key) <= STATE_TTL_S
    assert cron.redis.ttl("oncue:{default}:cron") == -1


def test_jitter_is_the_same_for_every_scheduler(cron: Cron) -> None:
    """A slot's delay is chosen by the slot, stays below the bound, and the invocation waits for it in the ledger."""
    schedule = cron.deploy(tick=CronTrigger(every_s=3600, jitter_s=3599))["tick"]
    delays = [schedule.jitter_ms(slot * 1000) for slot in range(200)]
    assert delays == [Schedule.of(schedule.trigger, schedule.function).jitter_ms(slot * 1000) for slot in range(200)]
    assert all(0 <= delay <= 3_599_000 for delay in delays)
    assert len(set(delays)) > 190
    cron.look(schedule)
    cron.away_for(schedule, 5)
    now_ms = cron.now_ms()
    slot = next(slot for slot in range(now_ms - 2000, now_ms) if schedule.jitter_ms(slot) > 60_000)
    cron.decide(schedule, seen_ms=now_ms - 5000, older=0, rows=[schedule.row(slot)])
    (event,) = cron.fired()
    assert cron.slots_fired(schedule) == [slot]
    assert event["record"]["status"] == "scheduled"
    assert int(event["record"]["due_ms"]) == slot + schedule.jitter_ms(slot)


def test_a_share_of_the_slots_for_a_candidate(cron: Cron) -> None:
    """A slot's version is chosen by the slot, so all schedulers choose alike; a share that grows takes none back."""
    schedule = cron.deploy(tick=CronTrigger(every_s=1, catch_up="all"), percent=30)["tick"]
    cron.look(schedule)
    cron.away_for(schedule, 100)
    cron.look(schedule)
    versions = {event["id"]: event["record"]["version"] for event in cron.fired()}
    assert versions == {each: schedule.function.version_for(each) for each in versions}
    assert 10 <= Counter(versions.values())["tests-candidate"] <= 50
    wider = cron.deploy(tick=schedule.trigger, percent=60)["tick"].function
    assert all(wider.version_for(each) == "tests-candidate" for each in versions if versions[each] == "tests-candidate")


def test_slots_that_wait_while_a_candidate_is_withdrawn(cron: Cron) -> None:
    """They run on the version that is served when their turn comes."""
    schedule = cron.deploy(tick=CronTrigger(every_s=1, overlap="queue"), percent=99)["tick"]
    cron.look(schedule)
    cron.away_for(schedule, 5)
    cron.look(schedule)
    alone = cron.deploy(tick=schedule.trigger)["tick"]
    for _ in range(4):
        cron.finish(cron.claim())
        cron.redis.hset(f"oncue:{{default}}:cron:{schedule.id}", "mark", cron.now_ms())
        cron.look(alone)
    assert [event["record"]["version"] for event in cron.fired()][1:] == [alone.function.version] * 4


def test_redis_out_of_memory(cron: Cron) -> None:
    """What Redis refuses to write stays undecided, due slots as well as waiting ones, and is decided once it can be."""
    schedules = cron.deploy(tick=CronTrigger(every_s=1), tock=CronTrigger(every_s=1, overlap="queue"))
    for schedule in schedules.values():
        cron.look(schedule)
        cron.away_for(schedule, 2)
    cron.look(schedules["tock"])
    cron.finish(cron.claim())
    cron.redis.config_set("maxmemory", 1)
    try:
        for schedule in schedules.values():
            with pytest.raises(LedgerUnavailableError):
                cron.look(schedule)
    finally:
        cron.redis.config_set("maxmemory", 0)
    for schedule in schedules.values():
        cron.look(schedule)
        fired = cron.slots_fired(schedule)
        assert len(fired) >= 2
        assert fired == list(range(fired[0], fired[-1] + 1, 1000))


def test_a_paused_schedule(cron: Cron, eventually: Callable[..., object]) -> None:
    """Slots that come due during a pause are listed as missed, also when the schedulers were away; then it goes on."""
    schedule = cron.deploy(tick=CronTrigger(every_s=1, catch_up="all"))["tick"]
    cron.look(schedule)
    document = cron.ask(lambda schedules: schedules.pause(schedule.id))
    assert (document["paused"], document["next"]) == (True, [])
    cron.away_for(schedule, 5)
    document = cron.ask(lambda schedules: schedules.resume(schedule.id))
    assert (document["paused"], len(document["next"])) == (False, 3)
    assert [reason for _, reason in cron.misses(schedule)] == ["paused"] * 5
    eventually(lambda: cron.look(schedule) and cron.slots_fired(schedule))
    assert min(cron.slots_fired(schedule)) > max(slot for slot, _ in cron.misses(schedule))
    assert document["misses"][0]["reason"] == "paused"


def test_fire_now(cron: Cron) -> None:
    """Firing by hand makes one invocation of its own, also during a pause, and touches no slot."""
    schedule = cron.deploy(daily=CronTrigger(expression="@daily"))["daily"]
    cron.look(schedule)
    cron.ask(lambda schedules: schedules.pause(schedule.id))
    ids = {cron.ask(lambda schedules: schedules.fire(schedule.id)) for _ in range(2)}
    assert len(ids) == 2
    assert {queue_of(each) for each in ids} == {"default"}
    document = cron.ask(lambda schedules: schedules.get(schedule.id))
    assert [(fire["invocation"] in ids, fire["by_hand"], fire["slot"]) for fire in document["fires"]] == [
        (True, True, None)
    ] * 2
    assert cron.redis.xlen(QueueKeys("default").stream) == 2
    assert document["missed"] == 0


def test_a_look_for_a_version_that_is_no_longer_served(cron: Cron) -> None:
    """A scheduler that has not heard of a deploy decides nothing: what is removed or changed fires no more."""
    old = cron.deploy(tick=SECONDLY)["tick"]
    cron.look(old)
    cron.deploy(tick=None)
    cron.away_for(old, 3)
    assert cron.look(old) is None
    cron.drop()
    assert cron.look(old) is None
    assert cron.fired() == []
