"""How much a worker holds of a queue, and what becomes of each claim."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from runtime.carriers.holdings import MAX_AHEAD, MAX_UNWRITTEN, Holdings
from runtime.ledger.records import Claim


def claim(id: str = "default-1", fence: int = 1) -> Claim:
    values: dict[str, Any] = {
        "queue": "default",
        "entry": "1-1",
        "id": id,
        "attempt": fence,
        "fence": fence,
        "lost": 0,
        "deaths": 0,
    }
    more: dict[str, Any] = {
        "function": "f",
        "version": "v",
        "key": id,
        "event": b"{}",
        "blob": None,
        "trace": None,
        "accepted_ms": 0,
    }
    return Claim(**values, **more)


def run(holdings: Holdings, one: Claim, duration_s: float) -> None:
    assert holdings.take([one])
    assert holdings.start(one)
    holdings.ended(one, duration_s)
    holdings.release([one])


def test_slow_handlers_are_fetched_one_a_thread() -> None:
    """Behind a slow handler nothing waits that another worker could run; unknown ones count as slow."""
    holdings = Holdings(4)
    assert holdings.await_room(0) == 4
    for n in range(50):
        run(holdings, claim(f"default-{n}"), 5.0)
    assert holdings.await_room(0) == 4


def test_fast_handlers_are_fetched_ahead_within_bounds() -> None:
    """The faster they are, the more are fetched, up to a ceiling; a slow one takes it back."""
    holdings = Holdings(4)
    for n in range(200):
        run(holdings, claim(f"default-{n}"), 0.001)
    assert 100 < holdings.await_room(0) <= 4 + 200
    for n in range(500):
        run(holdings, claim(f"default-{n}"), 0.0)
    assert holdings.await_room(0) == 4 + MAX_AHEAD
    for n in range(20):
        run(holdings, claim(f"default-{n}"), 3.0)
    assert holdings.await_room(0) == 4


def test_room_is_awaited_until_a_handler_ends() -> None:
    """A full worker fetches again the moment a thread is free, and not before."""
    holdings = Holdings(1)
    one = claim()
    holdings.take([one])
    assert holdings.await_room(0.01) <= 0
    holdings.start(one)
    assert holdings.await_room(0.01) <= 0
    ender = threading.Timer(0.05, holdings.ended, (one, 1.0))
    ender.start()
    assert holdings.await_room(5) == 1
    ender.join()
    assert holdings.all() == [one]
    holdings.release([one])
    assert holdings.all() == []


def test_unwritten_verdicts_stop_the_intake() -> None:
    """With the ledger away, what is held stays bounded."""
    holdings = Holdings(8)
    claims = [claim(f"default-{n}") for n in range(MAX_UNWRITTEN + 1)]
    for one in claims:
        holdings.take([one])
        holdings.start(one)
        holdings.ended(one, 0.001)
    assert holdings.await_room(0) == 0
    assert len(holdings.all()) == MAX_UNWRITTEN + 1
    holdings.release(claims[:2])
    assert holdings.await_room(0) > 0


def test_stopping_gives_up_what_waits_and_takes_nothing_more() -> None:
    """What runs stays held; what waits is returned, and will not start."""
    holdings = Holdings(2)
    waits, runs, late = claim("default-a"), claim("default-b"), claim("default-c")
    holdings.take([waits, runs])
    assert holdings.start(runs)
    assert holdings.stop() == [waits]
    assert holdings.all() == [runs]
    assert not holdings.start(waits)
    assert not holdings.take([late])
    assert holdings.all() == [runs]
    assert holdings.await_room(0) == 0


def test_two_attempts_of_one_invocation_are_told_apart() -> None:
    """An attempt that was given up for lost may end while the next one of the same invocation is held here."""
    holdings = Holdings(2)
    first, second = claim(fence=1), claim(fence=2)
    holdings.take([first])
    holdings.start(first)
    holdings.take([second])
    assert holdings.start(second)
    holdings.ended(first, 1.0)
    holdings.release([first])
    assert holdings.all() == [second]
    holdings.ended(second, 1.0)
    holdings.release([second])
    assert holdings.all() == []


def test_a_newer_claim_takes_the_place_of_one_that_waits() -> None:
    """What is stale before it has started never starts."""
    holdings = Holdings(2)
    first, second = claim(fence=1), claim(fence=2)
    holdings.take([first])
    holdings.take([second])
    assert not holdings.start(first)
    assert holdings.start(second)
    assert not holdings.start(second)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=60), st.integers(1, 8))
def test_every_claim_is_held_exactly_until_it_is_released(steps: list[tuple[int, int]], threads: int) -> None:
    """Whatever the order of events: held is what was taken and neither released nor given back."""
    holdings = Holdings(threads)
    state: dict[int, str] = {}
    claims = {n: claim(f"default-{n}") for n in range(6)}
    for n, step in steps:
        if step == 0 and n not in state:
            holdings.take([claims[n]])
            state[n] = "waits"
        elif step == 1 and state.get(n) == "waits":
            assert holdings.start(claims[n])
            state[n] = "runs"
        elif step == 2 and state.get(n) == "runs":
            holdings.ended(claims[n], 0.01)
            state[n] = "ended"
        elif step == 3 and state.get(n) == "ended":
            holdings.release([claims[n]])
            del state[n]
    assert sorted(each.id for each in holdings.all()) == sorted(f"default-{n}" for n in state)
    assert len(holdings.stop()) == list(state.values()).count("waits")


def test_releasing_what_is_not_held_changes_nothing() -> None:
    """A verdict may be told of twice."""
    holdings = Holdings(1)
    one = claim()
    run(holdings, one, 0.1)
    holdings.release([one, msgspec.structs.replace(one, fence=9)])
    assert holdings.all() == []


def test_what_another_worker_has_by_now_is_forgotten_unless_it_runs() -> None:
    """After a long sleep a claim that waits for a thread does not start any more; one that runs is let go otherwise."""
    holdings = Holdings(2)
    waits, runs = claim("default-a"), claim("default-b")
    holdings.take([waits, runs])
    assert holdings.start(runs)
    assert holdings.forget(waits)
    assert not holdings.start(waits)
    assert not holdings.forget(runs)
    assert holdings.all() == [runs]
