"""Handlers that write down what they do: one JSON line in the journal for each start, effect and end.

{"at": 1760000000.12, "what": "start", "function": "work", "id": "default-…", "attempt": 1, "key": "k7", "worker": 4711, "of": null}
"""

import ctypes
import json
import os
import time
from hashlib import sha256
from pathlib import Path

from runtime import Context, function, on

JOURNAL = "journal.jsonl"
EFFECTS = "effects"


def note(what: str, ctx: Context, of: str | None = None) -> None:
    """Append a line in one write, so that lines of many processes never mix."""
    line = {
        "at": time.time(),
        "what": what,
        "function": ctx.function,
        "id": ctx.id,
        "attempt": ctx.attempt,
        "key": ctx.idempotency_key,
        "worker": os.getppid(),
        "of": of,
    }
    journal = os.open(ctx.state_dir / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(journal, json.dumps(line).encode() + b"\n")
    finally:
        os.close(journal)


def commit(ctx: Context, of: str | None = None) -> None:
    """Have the effect unless this idempotency key has had it, as an author is told to."""
    place = ctx.state_dir / EFFECTS / sha256(ctx.idempotency_key.encode()).hexdigest()
    place.parent.mkdir(exist_ok=True)
    try:
        place.touch(exist_ok=False)
    except FileExistsError:
        note("repeat", ctx, of)
    else:
        note("effect", ctx, of)


@function(retries=20, backoff_min="100ms", backoff_max="1s", timeout="60s")
def work(ms: int = 20, fails: int = 0, of: str | None = None, *, ctx: Context) -> int:
    """Take `ms` milliseconds, raise in the first `fails` attempts, have the effect in the next one."""
    note("start", ctx, of)
    time.sleep(ms / 1000)
    if ctx.attempt <= fails:
        note("raise", ctx, of)
        raise ValueError(f"attempt {ctx.attempt} of {ctx.id} is one of the first {fails}")
    commit(ctx, of)
    note("end", ctx, of)
    return ctx.attempt


@function(retries=1, backoff_min="100ms")
def hopeless(ms: int = 20, *, ctx: Context) -> None:
    """Fail in every attempt."""
    note("start", ctx)
    time.sleep(ms / 1000)
    note("raise", ctx)
    raise RuntimeError("as ever")


@function(retries=20, backoff_min="100ms", backoff_max="1s", timeout="60s")
def chain(ms: int = 20, *, ctx: Context) -> None:
    """Ask for one follow-up, twice over: by name, and by an event."""
    note("start", ctx)
    ctx.invoke("work", {"ms": ms, "of": f"{ctx.id} invoke"})
    ctx.emit("chaos.chained", {"of": f"{ctx.id} emit"})
    time.sleep(ms / 1000)
    commit(ctx)
    note("end", ctx)


@on("chaos.chained")
def chained(of: str, *, ctx: Context) -> None:
    """Follow an event of `chain`."""
    note("start", ctx, of)
    commit(ctx, of)
    note("end", ctx, of)


@function(retries=20, backoff_min="100ms", backoff_max="200ms", memory="256MB")
def breaks(how: str, *, ctx: Context) -> None:
    """End the own process."""
    note("start", ctx)
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(7)
    else:
        Path("/dev/null").write_bytes(bytearray(2 * 2**30))


@function(retries=1, backoff_min="100ms", timeout="3s")
def spins(ctx: Context) -> None:
    """Never end, and never leave C."""
    note("start", ctx)
    sum(range(10**15))


@function(timeout="60s", queue="slow")
def long(ms: int, *, ctx: Context) -> None:
    """Take long, in a queue of its own."""
    note("start", ctx)
    time.sleep(ms / 1000)
    commit(ctx)
    note("end", ctx)
