"""A call and how it ended, as plain values; and the sentences that say why a child was lost."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.authoring.exits import exit_words
from runtime.execution import frames
from runtime.execution.warm import GARBLED, Loss

# Files of the child's own frames in a faulthandler stack: `  File "…/runtime/execution/child.py", line 181 in _run`.
_CHILD_FILES = ('/runtime/execution/child.py"', '"<frozen runpy>"')

# Last words of C and Rust code that got no memory, and then aborted.
_OUT_OF_MEMORY = (b"MemoryError", b"memory allocation of", b"bad_alloc", b"Cannot allocate memory", b"out of memory")


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of one invocation, as a child is asked for it."""

    invocation_id: str
    function: str
    attempt: int
    #: the event's JSON document (`Event.document()`)
    event: bytes
    #: the raw body for the one `bytes` parameter
    blob: bytes | None
    idempotency_key: str
    timeout_s: float
    memory_bytes: int
    #: W3C trace context
    trace: Mapping[str, str]
    #: names of the declared secrets, required and optional
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt has no result."""

    #: "raised", "input", "give_up", "retry", "timeout", "memory", "crash", "leftover", "result", "cancelled", "start"
    kind: str
    #: the exception's class name, or what stands for it: "ChildKilled", "ChildCrashed", …
    type: str
    #: one sentence with the value, the place and the cure
    message: str
    #: of the author's frames, at most 16 KB; for a crash, the last words on stderr
    traceback: str | None = None
    #: for "input": [{"pointer", "message"}]
    errors: list[dict[str, str]] = field(default_factory=list)
    #: seconds to wait before the next try, when the error says so
    retry_after_s: float | None = None
    #: whether the child process was lost with it
    child_died: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How one call ended: with a failure, or with a result and what follows from it."""

    failure: Failure | None
    body: bytes = b""
    media_type: str = ""
    filename: str | None = None
    #: [{"kind": "emit", "type", "data"} | {"kind": "invoke", "function", "data", "delay_s"}], in order
    follow_ups: list[dict[str, Any]] = field(default_factory=list)
    #: wall-clock seconds the call took, a cold start included
    duration_s: float = 0.0


def answered(call: Call, answer: frames.Frame, duration_s: float) -> Ending | None:
    """Read a child's own answer; None when it is garbled."""
    try:
        return _read(call, answer, duration_s)
    except GARBLED:
        return None


def _read(call: Call, answer: frames.Frame, duration_s: float) -> Ending:
    told = json.loads(answer.meta) if answer.meta else {}
    if answer.kind == frames.RESULT:
        return Ending(
            failure=None,
            duration_s=duration_s,
            body=answer.body,
            media_type=told.get("media_type", "application/json"),
            filename=told.get("filename"),
            follow_ups=told.get("follow_ups", []),
        )
    spent = bool(answer.flags & frames.SPENT)
    if told["kind"] == "memory":
        return Ending(_out_of_memory(call, told["type"], told["traceback"]), duration_s=duration_s)
    if told["kind"] == "leftover":
        return Ending(_leftover(call, told["left"]), duration_s=duration_s)
    return Ending(Failure(**told, child_died=spent), duration_s=duration_s)


def lost(call: Call, loss: Loss, code: int, tail: bytes, duration_s: float) -> Ending:
    """Say why a child was lost. `code` is its exit code, negative for a signal; `tail` its last words on stderr,
    or at a timeout its stack.
    """
    if loss is Loss.TIMEOUT or (loss is Loss.DEATH and code == -signal.SIGXCPU):
        message = (
            f"{call.function!r} did not end within {call.timeout_s:g} s and was killed; "
            "give it a longer timeout= or less work per invocation"
        )
        failure = Failure("timeout", "ChildKilled", message, _author_frames(tail), child_died=True)
    elif loss is Loss.MEMORY or (loss is Loss.DEATH and any(words in tail for words in _OUT_OF_MEMORY)):
        failure = _out_of_memory(call, "ChildKilled", last_words(tail))
    elif loss is Loss.GARBLED:
        message = (
            f"{call.function!r} garbled what its process says to the worker, which killed it; "
            "close and write no descriptors but your own, and leave the modules of others as they are"
        )
        failure = Failure("crash", "ChildGarbled", message, last_words(tail), child_died=True)
    else:
        message = f"{call.function!r} ended its own process: {death_words(code)}; its other threads and calls are unharmed"
        failure = Failure("crash", "ChildCrashed", message, last_words(tail), child_died=True)
    return Ending(failure, duration_s=duration_s)


def cancelled(call: Call, duration_s: float) -> Ending:
    return Ending(Failure("cancelled", "Cancelled", f"{call.function!r} was cancelled", child_died=True), duration_s=duration_s)


#: The type of the failure of a call that the end of the worker cut short.
POOL_CLOSED = "PoolClosed"


def pool_closed() -> Failure:
    message = "the worker is stopping, so the attempt was not made or did not end; run it elsewhere"
    return Failure("start", POOL_CLOSED, message)


def not_started(reason: str, *, type: str = "ChildNotStarted", traceback: str | None = None) -> Failure:
    return Failure("start", type, f"the folder cannot be started: {reason}", traceback, child_died=True)


def _author_frames(stack: bytes) -> str | None:
    """The lines of a faulthandler stack that are not the child's own."""
    lines = [line for line in stack.decode(errors="replace").splitlines() if not any(file in line for file in _CHILD_FILES)]
    return "\n".join(("Stack when it was killed (most recent call first):", *lines)) if lines else None


def _out_of_memory(call: Call, type: str, traceback: str | None) -> Failure:
    message = (
        f"{call.function!r} needs more than its {call.memory_bytes / 10**6:g} MB of memory; "
        "give it a larger memory= or smaller pieces of work"
    )
    return Failure("memory", type, message, traceback, child_died=True)


def _leftover(call: Call, left: list[str]) -> Failure:
    names = ", ".join(repr(line) for line in left[:5])
    message = (
        f"{call.function!r} returned but left {len(left)} process{'es' if len(left) > 1 else ''} behind, now killed: {names}; "
        "wait for them before returning"
    )
    return Failure("leftover", "ProcessesLeftBehind", message, child_died=True)


def death_words(code: int) -> str:
    """Name how a child ended, and what may be behind it."""
    hint = " (perhaps by the kernel, out of memory)" if code == -signal.SIGKILL else ""
    return exit_words(code) + hint


def last_words(tail: bytes) -> str | None:
    return tail.decode(errors="replace").strip() or None
