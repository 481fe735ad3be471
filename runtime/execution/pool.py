"""The warm children of one version: has each call talk to one, and turns whatever happens into an `Ending`.

    pool = ChildPool(folder=folder, name="thumbnail", state_dir=state, secret=secrets.get)
    ending = pool.call(Call(...), on_output=print)

Many worker threads call at once; each call blocks its thread and has a child to itself, the one used last (lending.py).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.execution import endings, frames, temporary
from runtime.execution.endings import Call, Ending, Failure
from runtime.execution.handover import Read, read_nothing
from runtime.execution.lending import Lending, Run
from runtime.execution.output import Output
from runtime.execution.warm import Home, Loss

__all__ = ["Call", "ChildPool", "Ending", "Failure"]

# Children in a row that a call may find dead, though each was alive a moment before.
_UNHEARD = 3


class ChildPool:
    """Warm children of one version in one worker process. Every method may be called from any thread."""

    def __init__(
        self,
        *,
        folder: Path,
        name: str,
        python: str = sys.executable,
        state_dir: Path,
        secret: Callable[[str], str | None],
        read: Read = read_nothing,
        idle_s: float = 300,
        max_calls: int = 10_000,
        import_deadline_s: float = 20,
    ) -> None:
        """Make an empty pool; no child is started before the first call.

        `secret(name)` returns a secret's value, or None; `read(id)` the result that a handler asks for. A child ends after
        `idle_s` seconds without a call, and is replaced after `max_calls` calls.
        """
        state_dir.mkdir(parents=True, exist_ok=True)
        temporary.sweep()
        home = Home(folder=folder.resolve(), name=name, python=python, state_dir=state_dir.resolve(), read=read)
        self._lending = Lending(home, idle_s=idle_s, max_calls=max_calls, import_deadline_s=import_deadline_s)
        self._secret = secret

    @property
    def size(self) -> int:
        """How many children live, busy and idle."""
        return self._lending.size

    def call(self, call: Call, on_output: Callable[[list[dict[str, Any]]], None]) -> Ending:
        """Run one attempt in a warm child and return how it ended. Never raises for what the author's code does.

        `on_output` gets batches of frames while it runs, in this thread: {"kind": "log", "stream", "level",
        "line"} (and "logger" for records of `logging`) and {"kind": "progress", "fraction", "note"}.
        """
        started = time.monotonic()
        run = Run(call.invocation_id)
        try:
            return self._attempt(run, call, Output(on_output), started)
        finally:
            self._lending.end(run)

    def _attempt(self, run: Run, call: Call, output: Output, started: float) -> Ending:
        meta, body, flags = self._frame(call)
        unheard = 0
        while True:
            child = self._lending.lease(run)
            if isinstance(child, Failure):
                duration_s = time.monotonic() - started
                return endings.cancelled(call, duration_s) if run.cancelled else Ending(child, duration_s=duration_s)
            child.calls += 1
            answer: frames.Frame | Loss = Loss.DEATH  # should `on_output` raise, the child must go: it is still at work
            try:
                deadline = time.monotonic() + call.timeout_s
                answer = child.send(frames.CALL, meta, body, flags, deadline) or child.listen(
                    output, deadline, call.memory_bytes
                )
                last_words = child.where() if answer is Loss.TIMEOUT else output.tail
                ending = None
                if isinstance(answer, frames.Frame):
                    ending = endings.answered(call, answer, time.monotonic() - started)
                    answer = answer if ending is not None else Loss.GARBLED
            finally:
                code = self._lending.give_back(run, child, answer)
            output.close()
            duration_s = time.monotonic() - started
            if run.cancelled:
                return endings.cancelled(call, duration_s)
            if ending is not None:
                return ending
            assert isinstance(answer, Loss)
            if self._lending.is_closed:
                return Ending(endings.pool_closed(), duration_s=duration_s)
            if answer is Loss.UNHEARD:
                unheard += 1
                if unheard < _UNHEARD:
                    continue
                answer = Loss.GARBLED
            return endings.lost(call, answer, code, last_words, duration_s)

    def _frame(self, call: Call) -> tuple[bytes, bytes, int]:
        secrets = {name: value for name in call.secrets if (value := self._secret(name)) is not None}
        meta = json.dumps(
            (
                call.invocation_id,
                call.function,
                call.attempt,
                call.idempotency_key,
                call.timeout_s,
                call.memory_bytes,
                dict(call.trace),
                secrets,
            )
        ).encode()
        if call.blob is None:
            return meta, call.event, 0
        return meta[:-1] + b"," + call.event + b"]", call.blob, frames.HAS_BLOB

    def warm(self) -> Failure | None:
        """Start one child now and import the folder; None when it is ready for the first call."""
        run = Run("")
        if not self._lending.begin(run):
            return endings.pool_closed()
        try:
            child = self._lending.start(run)
            if isinstance(child, Failure):
                return child
            self._lending.give_back(run, child, frames.Frame(frames.READY, 0, b"", b""))
            return None
        finally:
            self._lending.end(run)

    def cancel(self, invocation_id: str) -> bool:
        """End the call of this invocation: SIGTERM, after two seconds SIGKILL for the whole tree. False: none runs here.

        Returns at once; the thread that waits in `call` gets the ending, of kind "cancelled".
        """
        return self._lending.cancel(invocation_id)

    def reap_idle(self) -> None:
        """End the children that were idle for longer than `idle_s`; call this about once a second."""
        self._lending.reap_idle()

    def close(self, grace_s: float = 2.0) -> None:
        """End all children; calls in progress have `grace_s` seconds to end before theirs is killed."""
        self._lending.close(grace_s)
