"""Any order of what edges, workers and people do: every invocation is in one place, in the state it should be, and ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from infra.embedded import EmbeddedServer
from runtime.ledger.keys import QUEUES, QueueKeys
from runtime.ledger.operations import Operations
from runtime.ledger.records import FINAL, Claim
from tests.ledger.book import Book, acceptance, ids

KEYS = QueueKeys("default")

#: What may stay when all that has a TTL is gone; none of it grows with the number of invocations.
CONSTANT = {QUEUES, KEYS.stream, KEYS.stats, KEYS.versions, KEYS.outbox, KEYS.wake, KEYS.dead}


@dataclass
class Model:
    """What should be true of one invocation."""

    id: str
    status: str
    attempt: int = 0
    lost: int = 0
    deaths: int = 0
    is_cancel_wanted: bool = False
    is_replayed: bool = False
    #: the claim that counts; all earlier ones are refused
    claim: Claim | None = None


@dataclass
class Models:
    by_id: dict[str, Model] = field(default_factory=dict)

    def are(self, *statuses: str) -> list[Model]:
        return [each for each in self.by_id.values() if each.status in statuses]


class Life(RuleBasedStateMachine):
    """One queue over Redis' streams."""

    #: set by the test
    book: ClassVar[Book]
    is_outbox: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.book.redis.flushall()
        self.book.worker.declare("default")
        self.models = Models()
        self.keys: dict[str, str] = {}
        self.twins: dict[str, str] = {}
        self.claims: list[Claim] = []
        self.messages: list[str] = []
        self.follow_ups = 0
        self.people = Operations(self.book.edge, lambda _: None)

    @rule(delayed=st.booleans(), key=st.sampled_from(["", "", "k1", "k2"]), twin=st.sampled_from(["", "", "t1"]))
    def accept(self, delayed: bool, key: str, twin: str) -> None:
        wanted = acceptance(
            dedupe=key, fingerprint="f", cache=twin, cache_ttl_s=3600.0 if twin else 0.0, delay_s=3600.0 if delayed else 0.0
        )
        (answer,) = self.book.answers(wanted)
        twin_id = self.twins.get(twin)
        if key in self.keys:
            assert (answer.outcome, answer.id) == ("duplicate", self.keys[key])
            return
        if twin_id is not None and self.status_of(twin_id) not in (None, "failed", "cancelled"):
            assert (answer.outcome, answer.id) == ("cached", twin_id)
        else:
            assert (answer.outcome, answer.id) == ("new", wanted.id)
            self.models.by_id[wanted.id] = Model(wanted.id, "scheduled" if delayed else "queued")
            if twin:
                self.twins[twin] = wanted.id
        if key:
            self.keys[key] = answer.id

    def status_of(self, invocation_id: str) -> str | None:
        model = self.models.by_id.get(invocation_id)
        return model.status if model else None

    @rule(count=st.integers(1, 3), consumer=st.sampled_from(["one", "two"]))
    def claim(self, count: int, consumer: str) -> None:
        self.took(self.book.worker.claim("default", consumer, read=count))

    def took(self, claims: list[Claim]) -> None:
        for claim in claims:
            model = self.models.by_id[claim.id]
            assert model.status == "queued", f"a claim of what is {model.status}"
            model.status, model.attempt, model.claim = "running", model.attempt + 1, claim
            assert (claim.attempt, claim.lost, claim.deaths) == (model.attempt, model.lost, model.deaths)
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "retrying", "failed", "cancelled"]), died=st.booleans())
    def finish(self, data: st.DataObject, outcome: str, died: bool) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        died = died and outcome in ("retrying", "failed")
        answer = self.book.finish(claim, outcome, died=died, retry_in_s=3600.0, follow_ups=[b"{}"])
        model = self.models.by_id.get(claim.id)
        if model is None or model.claim is not claim:
            assert answer == "stale"
            return
        model.deaths += died
        if outcome == "retrying" and model.deaths >= 3:
            outcome = "failed"
        elif outcome == "retrying" and model.is_cancel_wanted:
            outcome = "cancelled"
        assert answer == outcome
        model.status, model.claim = outcome, None
        self.follow_ups += outcome == "succeeded"

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def hand_back(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        model = self.models.by_id.get(claim.id)
        is_ours = model is not None and model.claim is claim
        assert self.book.worker.hand_back("default", [claim]) == is_ours
        assert self.book.finish(claim) == "stale"
        if model is not None and is_ours:
            model.status = "cancelled" if model.is_cancel_wanted else "queued"
            model.attempt, model.claim = model.attempt - 1, None

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        model = self.models.by_id.get(claim.id)
        told = self.book.worker.renew("default", claim.entry and "one", [claim])
        if model is None or model.claim is not claim:
            assert told == [(claim, "stale")]
        else:
            assert told == ([(claim, "cancel")] if model.is_cancel_wanted else [])

    @precondition(lambda self: self.models.are("running"))
    @rule(data=st.data())
    def lose_worker(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(self.models.are("running")))
        zombie = model.claim
        assert zombie is not None
        self.run_out(zombie)
        model.lost, model.claim = model.lost + 1, None
        if model.is_cancel_wanted:
            model.status = "cancelled"
        elif model.lost >= 10:
            model.status = "failed"
        else:
            model.status = "queued"
        self.recover()
        assert self.book.finish(zombie) == "stale"

    def run_out(self, claim: Claim) -> None:
        """Let a lease run out, without waiting for it."""
        self.book.redis.xclaim(KEYS.stream, "workers", "gone", 0, [claim.entry], idle=60_000, justid=True)

    def recover(self) -> None:
        self.took(self.book.take_over("heir"))

    @rule()
    def come_due(self) -> None:
        for member in self.book.redis.zrange(KEYS.due, 0, -1):
            self.book.redis.zadd(KEYS.due, {member: 1})
        waiting = self.models.are("scheduled", "retrying")
        assert self.book.worker.promote("default") == (len(waiting), None)
        for model in waiting:
            model.status = "queued"

    @precondition(lambda self: self.models.by_id)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(list(self.models.by_id.values())))
        assert self.book.run(self.people.cancel(model.id)) == model.status
        if model.status in ("scheduled", "queued", "retrying"):
            model.status = "cancelled"
        elif model.status == "running":
            model.is_cancel_wanted = True

    @precondition(lambda self: self.models.are("failed"))
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(self.models.are("failed")))
        answer = self.book.run(self.people.replay(self.book.record(model.id)))
        assert answer.outcome == ("duplicate" if model.is_replayed else "new")
        if not model.is_replayed:
            self.models.by_id[answer.id] = Model(answer.id, "queued")
        model.is_replayed = True

    @precondition(lambda self: self.models.are("failed"))
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(self.models.are("failed")))
        assert self.book.run(self.people.drop([self.book.record(model.id)])) == 1
        del self.models.by_id[model.id]

    @rule()
    def forget_scripts(self) -> None:
        self.book.redis.script_flush()

    @invariant()
    def records_are_as_they_should_be(self) -> None:
        for model in self.models.by_id.values():
            record = self.book.record(model.id)
            found = (record.status, record.attempt, record.lost, record.deaths)
            assert found == (model.status, model.attempt, model.lost, model.deaths), model
        found_dead = {member.decode() for member in self.book.redis.zrange(KEYS.dead, 0, -1)}
        assert found_dead == {model.id for model in self.models.are("failed") if not model.is_replayed}
        assert self.book.redis.xlen(KEYS.outbox) == self.follow_ups
        assert not self.book.redis.exists(KEYS.parked)

    @invariant()
    def each_is_in_one_place(self) -> None:
        waiting = {member.decode() for member in self.book.redis.zrange(KEYS.due, 0, -1)}
        assert waiting == {model.id for model in self.models.are("scheduled", "retrying")}
        entries = {entry.decode(): fields[b"id"].decode() for entry, fields in self.book.redis.xrange(KEYS.stream)}
        pending = self.book.redis.xpending_range(KEYS.stream, "workers", "-", "+", 1000)
        self.check_queue(entries, {each["message_id"].decode() for each in pending})

    def check_queue(self, entries: dict[str, str], pending: set[str]) -> None:
        unread = sorted(invocation_id for entry, invocation_id in entries.items() if entry not in pending)
        open_ids = sorted(model.id for model in self.models.are("queued"))
        # A cancelled one's entry stays until it is read.
        assert [each for each in unread if self.status_of(each) != "cancelled"] == open_ids
        assert {entries[each] for each in pending} == {model.id for model in self.models.are("running")}
        assert pending == {model.claim.entry for model in self.models.are("running") if model.claim}

    @invariant()
    def only_what_is_open_stays_for_ever(self) -> None:
        without = self.without_ttl()
        is_open = {KEYS.record(each.id) for each in self.models.by_id.values() if each.status not in FINAL}
        output = {KEYS.output(each) for each in self.models.by_id}
        assert is_open <= without
        assert without - is_open - output <= CONSTANT | {KEYS.due, KEYS.leases}

    def without_ttl(self) -> set[str]:
        keys = sorted(self.book.keys())
        with self.book.redis.pipeline() as pipeline:
            for key in keys:
                pipeline.pttl(key)
            return {key for key, ttl in zip(keys, pipeline.execute(), strict=True) if ttl == -1}

    def teardown(self) -> None:
        """In the end everything ends, and what has a TTL is all that is left of it."""
        for _ in range(4):
            self.come_due()
            for model in self.models.are("running"):
                assert model.claim is not None
                self.book.finish(model.claim)
                model.status, model.claim = "succeeded", None
            self.settle()
        assert {model.status for model in self.models.by_id.values()} <= FINAL
        assert self.book.redis.xlen(KEYS.stream) == 0
        assert self.book.redis.xpending(KEYS.stream, "workers")["pending"] == 0
        assert self.without_ttl() <= CONSTANT

    def settle(self) -> None:
        """Take what waits."""
        self.claim(100, "one")


class OutboxLife(Life):
    """One queue whose stream is the outbox of another carrier, which may deliver any message any number of times."""

    is_outbox = True

    @rule()
    def send(self) -> None:
        read: Any = self.book.redis.xreadgroup("workers", "publisher", {KEYS.stream: ">"}, count=100)
        entries = [(entry.decode(), fields[b"id"].decode()) for entry, fields in read[0][1]] if read else []
        self.book.worker.sent("default", entries)
        self.messages += [invocation_id for _, invocation_id in entries]

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), again=st.booleans())
    def deliver(self, data: st.DataObject, again: bool) -> None:
        message = data.draw(st.sampled_from(self.messages))
        if not again:
            self.messages.remove(message)
        if message not in self.models.by_id:
            return  # dropped by a person; it would be parked
        claims = self.book.worker.claim("default", "one", [("", message)])
        assert ids(claims) == ([message] if self.models.by_id[message].status == "queued" else [])
        self.took(claims)

    @precondition(lambda self: False)
    @rule()
    def claim(self) -> None:  # type: ignore[override]  # workers read no stream here
        """Never: workers get messages."""

    def run_out(self, claim: Claim) -> None:
        self.book.redis.zadd(KEYS.leases, {claim.id: 1})

    def recover(self) -> None:
        self.book.worker.promote("default")

    def check_queue(self, entries: dict[str, str], pending: set[str]) -> None:
        assert pending == set()
        leased = {member.decode() for member in self.book.redis.zrange(KEYS.leases, 0, -1)}
        assert {model.id for model in self.models.are("running")} <= leased
        held = leased | set(entries.values())
        assert {model.id for model in self.models.are("queued")} <= held
        assert {self.status_of(each) for each in held} <= {"queued", "running", "cancelled", None}

    def settle(self) -> None:
        self.send()
        for message in [*self.messages, *(model.id for model in self.models.are("queued"))]:
            if message in self.models.by_id:
                self.took(self.book.worker.claim("default", "one", [("", message)]))
        for member in self.book.redis.zrange(KEYS.leases, 0, -1):  # an hour later
            if self.status_of(member.decode()) != "running":
                self.book.redis.zadd(KEYS.leases, {member: 1})
        self.book.worker.promote("default")


@pytest.mark.parametrize("life", [Life, OutboxLife])
def test_any_order_of_events(life: type[Life], tmp_path: Path, open_book: Callable[..., Book]) -> None:
    """Workers lost, zombies, cancels, replays and repeated messages: no state but the right one, and nothing left over."""
    many = settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    with EmbeddedServer(tmp_path / "data", "everysec") as server:
        life.book = open_book(server.url)
        run_state_machine_as_test(life, settings=many)
