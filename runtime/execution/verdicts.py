"""From how a child's call ended to what the ledger is told: retry, fail or succeed, and when."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from runtime.authoring.manifest import FunctionManifest
from runtime.authoring.options import FunctionOptions
from runtime.execution.partial import part_failed
from runtime.execution.pool import Ending, Failure
from runtime.ledger.batches import BATCH_EVENT
from runtime.ledger.ledger import MAX_DEATHS
from runtime.ledger.records import Claim, ResultInfo, Verdict
from runtime.ledger.store import INLINE_BYTES, MAX_RESULT_TTL_S, ResultStore

_JSON = msgspec.json.Encoder().encode

#: Failures that no retry can mend.
_HOPELESS = frozenset(("input", "give_up", "result"))

#: Failures that took the child down by themselves, and so count towards poison.
_DEADLY = frozenset(("crash", "memory"))

#: The longest pause that an error may ask for, in seconds; the same bound as for `backoff_max`.
MAX_RETRY_AFTER_S = 7 * 86400.0

#: Bounds of what is kept of an error: characters of its message and traceback, entries and characters each of its list of
#: errors in the input; and characters of each line of the log kept with it.
MAX_MESSAGE_CHARS = 4_000
MAX_TRACEBACK_CHARS = 20_000
MAX_ERRORS = 100
MAX_ERROR_CHARS = 1_000
MAX_TAIL_CHARS = 500

#: A succeeded or cancelled record is kept at least this long, so that its id can still be asked for.
RECORD_TTL_S = 86400.0

#: A record outlives its result in the object store by so much: it tells the sweeper that the result's time is over.
SWEPT_WITHIN_S = 3 * 3600.0


def judge(
    claim: Claim,
    function: FunctionManifest,
    ending: Ending,
    output: list[bytes],
    store: ResultStore,
    *,
    said: Sequence[str] = (),
) -> Verdict:
    """Return the verdict on an attempt; a large result is put into the store first. `said`: the last lines of its output.

    Raises:
        Exception: whatever the object store raises; the attempt is then not finished.
    """
    options = function.options
    if ending.failure is not None:
        return failed(claim, options, ending.failure, duration_s=ending.duration_s, output=output, said=said)
    part = part_failed(claim, ending)
    if part is not None and part.failure is not None:
        return failed(claim, options, part.failure, duration_s=ending.duration_s, output=output, said=said)
    follow_ups = list(ending.follow_ups)
    if part is not None:
        again = {"kind": "invoke", "function": claim.function, "type": BATCH_EVENT, "data": part.data}
        follow_ups.append({**again, "delay_s": back_off(options, 1)})
    # What answers for equal arguments must be there for as long as it does.
    result_ttl_s = min(max(options.result_ttl_s, options.cache_s or 0.0), MAX_RESULT_TTL_S)
    info = ResultInfo(
        media_type=ending.media_type,
        size=len(ending.body),
        sha256=hashlib.sha256(ending.body).hexdigest(),
        filename=ending.filename,
        place="redis" if len(ending.body) <= INLINE_BYTES else "store",
    )
    if info.place == "store":
        store.put(claim.id, info.sha256, ending.body)
    return Verdict(
        claim=claim,
        outcome="succeeded",
        attempt=_JSON({"outcome": "succeeded", "duration_ms": round(ending.duration_s * 1000, 3)}),
        result=_JSON(info),
        body=ending.body if info.place == "redis" else b"",
        result_ttl_s=result_ttl_s,
        record_ttl_s=max(RECORD_TTL_S, result_ttl_s + (SWEPT_WITHIN_S if info.place == "store" else 0.0)),
        output=output,
        follow_ups=[_JSON(follow_up) for follow_up in follow_ups],
    )


def failed(
    claim: Claim,
    options: FunctionOptions,
    failure: Failure,
    *,
    duration_s: float = 0.0,
    output: list[bytes] | None = None,
    said: Sequence[str] = (),
) -> Verdict:
    """Return the verdict on an attempt that failed: retrying while retries are left and can help."""
    error = _error(claim.function, failure)
    tries = claim.attempt - claim.lost
    died = failure.kind in _DEADLY
    log = {"log": [line[:MAX_TAIL_CHARS] for line in said]} if said else {}
    if failure.kind == "cancelled":
        outcome: Any = "cancelled"
    elif tries > options.retries or not _may_help(failure, options) or (died and claim.deaths + 1 >= MAX_DEATHS):
        outcome = "failed"
    else:
        outcome = "retrying"
    return Verdict(
        claim=claim,
        outcome=outcome,
        attempt=_JSON({"outcome": outcome, "duration_ms": round(duration_s * 1000, 3), "error": error, **log}),
        died=died,
        retry_in_s=back_off(options, tries) if failure.retry_after_s is None else min(failure.retry_after_s, MAX_RETRY_AFTER_S),
        error=_JSON(error),
        record_ttl_s=RECORD_TTL_S,
        output=output or [],
    )


def back_off(options: FunctionOptions, tries: int) -> float:
    """Return the pause before the next try, in seconds, after `tries` failed ones."""
    pause = min(options.backoff_max_s, options.backoff_min_s * options.backoff_factor ** min(tries - 1, 64))
    return pause * (1 + options.backoff_jitter * random.uniform(-1, 1))  # noqa: S311  # spreads load, guards nothing


def _may_help(failure: Failure, options: FunctionOptions) -> bool:
    if failure.kind in _HOPELESS:
        return False
    if failure.type in options.give_up_on:
        return False
    return not options.retry_on or failure.kind != "raised" or failure.type in options.retry_on


def fingerprint(function: str, failure: Failure) -> str:
    """Return what failures of one cause share: function, exception and place, and the message without its numbers."""
    place = next((line for line in reversed((failure.traceback or "").splitlines()) if line.startswith("  File ")), "")
    place = re.sub(r'"[^"]*/', '"', place)  # the version's folder changes with every deploy
    message = re.sub(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"", "#", failure.message[:500])
    return hashlib.sha256(f"{function}\0{failure.kind}\0{failure.type}\0{place}\0{message}".encode()).hexdigest()[:12]


def _error(function: str, failure: Failure) -> dict[str, Any]:
    error: dict[str, Any] = {
        "kind": failure.kind,
        "type": failure.type[:MAX_ERROR_CHARS],
        "message": failure.message[:MAX_MESSAGE_CHARS],
        "fingerprint": fingerprint(function, failure),
    }
    if failure.traceback:
        error["traceback"] = failure.traceback[:MAX_TRACEBACK_CHARS]
    if failure.errors:
        kept = failure.errors[:MAX_ERRORS]
        error["errors"] = [{name: words[:MAX_ERROR_CHARS] for name, words in each.items()} for each in kept]
    return error
