"""From how a call ended to what the ledger is told."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.authoring.manifest import FunctionManifest
from runtime.authoring.options import FunctionOptions
from runtime.execution.pool import Ending, Failure
from runtime.execution.verdicts import MAX_RETRY_AFTER_S, SWEPT_WITHIN_S, back_off, failed, judge
from runtime.ledger.records import Claim
from runtime.ledger.store import INLINE_BYTES, MAX_RESULT_TTL_S, ResultStore


def claim(attempt: int = 1, *, lost: int = 0, deaths: int = 0) -> Claim:
    values: dict[str, Any] = {"queue": "q", "entry": "1-1", "id": "q-1", "attempt": attempt, "fence": attempt, "lost": lost}
    more: dict[str, Any] = {"function": "f", "version": "v", "key": "k", "event": b"{}", "blob": None, "trace": None}
    return Claim(**values, deaths=deaths, accepted_ms=0, **more)


def failure(kind: str = "raised", type: str = "ValueError", **more: Any) -> Failure:
    return Failure(kind, type, "no", **more)


def function(**options: Any) -> FunctionManifest:
    return FunctionManifest(name="f", file="__init__.py", line=1, options=FunctionOptions(**options), input_schema={})


def outcome(one: Claim, given: Failure, **options: Any) -> str:
    return failed(one, FunctionOptions(**options), given).outcome


def test_a_result_is_described_and_kept(tmp_path: Path) -> None:
    """Size, digest, media type and name; the bytes go with the verdict; the record outlives the result."""
    ending = Ending(None, b"body", "text/plain", "a.txt", [{"kind": "emit", "type": "a", "data": 1}], 0.0123456)
    verdict = judge(claim(), function(result_ttl_s=7 * 86400), ending, [b"{}"], ResultStore(f"file://{tmp_path}"))
    assert json.loads(verdict.result) == {
        "media_type": "text/plain",
        "size": 4,
        "sha256": hashlib.sha256(b"body").hexdigest(),
        "filename": "a.txt",
        "place": "redis",
    }
    assert (verdict.outcome, verdict.body, verdict.output) == ("succeeded", b"body", [b"{}"])
    assert json.loads(verdict.attempt) == {"outcome": "succeeded", "duration_ms": 12.346}
    assert [json.loads(each) for each in verdict.follow_ups] == [{"kind": "emit", "type": "a", "data": 1}]
    assert verdict.record_ttl_s == verdict.result_ttl_s == 7 * 86400
    short = judge(claim(), function(result_ttl_s=60), ending, [], ResultStore(f"file://{tmp_path}"))
    assert (short.result_ttl_s, short.record_ttl_s) == (60, 86400)


def test_a_result_that_answers_for_twins_is_kept_as_long_as_it_does(tmp_path: Path) -> None:
    """`cache=` may be longer than `result_ttl=`; and where the store keeps the result, its record outlives it for the sweeper."""
    store = ResultStore(f"file://{tmp_path}")
    verdict = judge(claim(), function(result_ttl_s=60, cache_s=2 * 86400), Ending(None, b"x"), [], store)
    assert (verdict.result_ttl_s, verdict.record_ttl_s) == (2 * 86400, 2 * 86400)
    for_ever = judge(claim(), function(cache_s=1e9), Ending(None, b"x"), [], store)
    assert for_ever.result_ttl_s == MAX_RESULT_TTL_S
    large = judge(claim(), function(), Ending(None, b"x" * (INLINE_BYTES + 1)), [], store)
    assert (large.result_ttl_s, large.record_ttl_s) == (86400, 86400 + SWEPT_WITHIN_S)


@pytest.mark.parametrize(("size", "place"), [(0, "redis"), (INLINE_BYTES, "redis"), (INLINE_BYTES + 1, "store")])
def test_a_large_result_goes_to_the_store(tmp_path: Path, size: int, place: str) -> None:
    """Beyond 1 MiB Redis keeps the description only."""
    store = ResultStore(f"file://{tmp_path}")
    verdict = judge(claim(), function(), Ending(None, b"x" * size), [], store)
    assert json.loads(verdict.result)["place"] == place
    assert len(verdict.body) == (size if place == "redis" else 0)
    kept = asyncio.run(store.get("q-1", json.loads(verdict.result)["sha256"]))
    assert (kept is None) == (place == "redis")


def test_a_store_that_fails_is_no_success(tmp_path: Path) -> None:
    """The attempt is not finished as if its result were kept."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="File exists"):
        judge(claim(), function(), Ending(None, b"x" * (INLINE_BYTES + 1)), [], ResultStore(f"file://{tmp_path}/file"))


@pytest.mark.parametrize(
    ("one", "retries", "wanted"),
    [
        (claim(1), 0, "failed"),
        (claim(1), 3, "retrying"),
        (claim(3), 3, "retrying"),
        (claim(4), 3, "failed"),
        (claim(6, lost=3), 3, "retrying"),  # a lost worker is not the handler's try
        (claim(7, lost=3), 3, "failed"),
    ],
)
def test_retries_are_tries_after_the_first(one: Claim, retries: int, wanted: str) -> None:
    """As many as the options say, however many workers were lost in between."""
    assert outcome(one, failure(), retries=retries) == wanted


@pytest.mark.parametrize("kind", ["raised", "retry", "timeout", "memory", "crash", "leftover", "start", "host"])
def test_what_a_retry_can_mend_is_retried(kind: str) -> None:
    """While retries are left."""
    assert outcome(claim(), failure(kind)) == "retrying"


@pytest.mark.parametrize("kind", ["input", "give_up", "result"])
def test_what_no_retry_can_mend_is_failed_at_once(kind: str) -> None:
    """However many retries are left."""
    assert outcome(claim(), failure(kind), retries=50) == "failed"


def test_a_cancelled_attempt_is_cancelled() -> None:
    """Whatever the options say."""
    assert outcome(claim(9), failure("cancelled", "Cancelled"), retries=0) == "cancelled"


def test_exceptions_are_chosen_by_name() -> None:
    """`retry_on` names the only ones that are retried, `give_up_on` those that never are; a crash has no name."""
    assert outcome(claim(), failure(type="KeyError"), retry_on=("ValueError",)) == "failed"
    assert outcome(claim(), failure(type="ValueError"), retry_on=("ValueError",)) == "retrying"
    assert outcome(claim(), failure(type="ValueError"), give_up_on=("ValueError",)) == "failed"
    assert outcome(claim(), failure(type="ValueError"), retry_on=("ValueError",), give_up_on=("ValueError",)) == "failed"
    assert outcome(claim(), failure("crash", "ChildCrashed"), retry_on=("ValueError",)) == "retrying"
    assert outcome(claim(), failure("retry", "Retry"), retry_on=("ValueError",)) == "retrying"


def test_the_third_death_fails_in_the_attempt_too() -> None:
    """What is kept of the attempt says the same as the record."""
    for kind in ("crash", "memory"):
        verdict = failed(claim(3, deaths=2), FunctionOptions(retries=9), failure(kind))
        assert verdict.died
        assert verdict.outcome == "failed"
        assert json.loads(verdict.attempt)["outcome"] == "failed"
        assert failed(claim(2, deaths=1), FunctionOptions(retries=9), failure(kind)).outcome == "retrying"
    verdict = failed(claim(3, deaths=2), FunctionOptions(retries=9), failure("timeout"))
    assert (verdict.died, verdict.outcome) == (False, "retrying")


def test_an_error_is_kept_whole_and_without_empty_parts() -> None:
    """Kind, type, message; traceback and misfits when there are any."""
    errors = [{"pointer": "/a", "message": "no"}]
    verdict = failed(claim(), FunctionOptions(), failure("input", "InputError", traceback="at line 1", errors=errors))
    kept = json.loads(verdict.error)
    assert kept.pop("fingerprint")
    assert kept == {
        "kind": "input",
        "type": "InputError",
        "message": "no",
        "traceback": "at line 1",
        "errors": errors,
    }
    assert json.loads(verdict.attempt)["error"] == json.loads(verdict.error)
    assert set(json.loads(failed(claim(), FunctionOptions(), failure()).error)) == {"kind", "type", "message", "fingerprint"}


def test_what_is_kept_of_a_failed_attempt_is_bounded() -> None:
    """Whatever the handler, or the input, brings: a record is read and written whole."""
    errors = [{"pointer": f"/{n}", "message": "m" * 5000} for n in range(1_000)]
    given = Failure("input", "T" * 9**6, "m" * 9**6, traceback="t" * 9**6, errors=errors)
    verdict = failed(claim(), FunctionOptions(), given, said=["l" * 9**6] * 20)
    assert len(verdict.error) < 150_000
    assert len(verdict.attempt) < 165_000
    assert len(json.loads(verdict.error)["errors"]) == 100


def test_the_last_lines_of_a_failed_attempt_are_kept_with_it() -> None:
    """Of one that succeeded nothing is: its output has a stream of its own."""
    verdict = failed(claim(), FunctionOptions(), failure(), said=["reading", "writing"])
    assert json.loads(verdict.attempt)["log"] == ["reading", "writing"]


def test_an_error_may_choose_its_own_pause_within_bounds() -> None:
    """`Retry(after=…)` is taken at its word, zero included, up to a week; a verdict can always be written."""
    assert failed(claim(), FunctionOptions(), failure("retry", retry_after_s=0.0)).retry_in_s == 0
    assert failed(claim(), FunctionOptions(), failure("retry", retry_after_s=90.0)).retry_in_s == 90
    endless = failed(claim(), FunctionOptions(), failure("retry", retry_after_s=1e300))
    assert endless.retry_in_s == MAX_RETRY_AFTER_S
    assert endless.packed()


@given(
    st.floats(0, 86400),
    st.floats(0, 7 * 86400),
    st.floats(1, 100),
    st.floats(0, 1),
    st.integers(1, 1000),
)
def test_a_pause_is_within_its_bounds(least: float, most: float, factor: float, jitter: float, tries: int) -> None:
    """It grows from the least to the most, and varies by its jitter alone."""
    least, most = min(least, most), max(least, most)
    options = FunctionOptions(backoff_min_s=least, backoff_max_s=most, backoff_factor=factor, backoff_jitter=jitter)
    pause = back_off(options, tries)
    assert least * (1 - jitter) - 1e-9 <= pause <= most * (1 + jitter) + 1e-9


def test_pauses_double_by_default() -> None:
    """1, 2, 4 … up to ten minutes, without jitter."""
    options = FunctionOptions(backoff_jitter=0)
    assert [back_off(options, tries) for tries in (1, 2, 3, 4, 10, 11, 99)] == [1, 2, 4, 8, 512, 600, 600]
