"""Who has which child of one version: started when one is needed, lent for a call, kept warm, and ended in the end.

lease ── call ── give_back ── lease …        one idle too long, with its calls behind it, or unfit after a call is buried
"""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from runtime.execution import endings, frames
from runtime.execution.endings import Failure
from runtime.execution.output import Output
from runtime.execution.warm import Home, Loss, WarmChild

# Seconds a child that is not needed any more has to run its exit handlers.
_LEAVE_S = 2.0

# Children that start at one time. An import keeps a core busy: of eight at once on two cores none is ready before all
# nearly are, while the first of a few serves all who wait, when calls are short.
_STARTS = max(2, os.cpu_count() or 1)


@dataclass(slots=True, eq=False)
class Run:
    """A call in progress, from before its child is found until its child is given back."""

    invocation_id: str
    child: WarmChild | None = None
    cancelled: bool = False


class Lending:
    """Lends children of one version to calls. Every method may be called from any thread."""

    def __init__(self, home: Home, *, idle_s: float, max_calls: int, import_deadline_s: float) -> None:
        self._home = home
        self._idle_s, self._max_calls, self._import_deadline_s = idle_s, max_calls, import_deadline_s
        # Held for a few instructions, twice a call. `_changed` shares it: who waits for a child, or for all calls to
        # end, waits on that.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle: list[WarmChild] = []
        self._runs: set[Run] = set()
        self._size = 0
        self._starting = 0
        # How many starts have failed, and why the last one did: who was waiting then shares it.
        self._failed_starts = 0
        self._start_failure: Failure | None = None
        self._closed = False
        # One thread starts every child and outlives them all: PR_SET_PDEATHSIG fires when the *thread* that forked
        # ends, so a child started by a worker thread would die with that thread (prctl(2)). There is none without a child.
        self._spawner: ThreadPoolExecutor | None = None

    @property
    def size(self) -> int:
        """How many children live, busy and idle."""
        return self._size

    @property
    def is_closed(self) -> bool:
        """Whether no child is lent any more."""
        return self._closed

    def lease(self, run: Run) -> WarmChild | Failure:
        """Take the child that was used last; when none is idle, start one, or wait for one of those that start or work.

        Those who wait when a start fails fail with it: eight who each tried an import that hangs, two at a time, would keep
        their threads four times as long.
        """
        while True:
            with self._changed:
                self._runs.add(run)
                seen = self._failed_starts
                self._changed.wait_for(
                    lambda: (
                        self._idle or self._starting < _STARTS or self._closed or run.cancelled or self._failed_starts != seen  # noqa: B023  # asked within this round
                    )
                )
                if self._closed or run.cancelled:
                    return endings.pool_closed()
                if not self._idle and self._failed_starts != seen and self._start_failure is not None:
                    return self._start_failure
                child = run.child = self._idle.pop() if self._idle else None
                if child is None:
                    self._starting += 1
            if child is None:
                return self._start_counted(run)
            if child.settle():
                return child
            self._bury(run, child)

    def _start_counted(self, run: Run) -> WarmChild | Failure:
        started: WarmChild | Failure | None = None
        try:
            started = self.start(run)
            return started
        finally:
            with self._changed:
                self._starting -= 1
                if isinstance(started, Failure) and not run.cancelled:
                    self._failed_starts += 1
                    self._start_failure = started
                self._changed.notify_all()

    def start(self, run: Run) -> WarmChild | Failure:
        """Start a child and wait until its folder is imported."""
        with self._lock:
            self._size += 1
            if self._spawner is None:
                self._spawner = ThreadPoolExecutor(1, thread_name_prefix=f"children-of-{self._home.name}")
            spawner = self._spawner
        try:
            child = spawner.submit(WarmChild, self._home).result()
        except (OSError, RuntimeError) as error:  # RuntimeError: the system is out of threads
            self._count_out()
            return endings.pool_closed() if self._closed else endings.not_started(str(error), type=type(error).__name__)
        with self._lock:
            run.child = child
            if run.cancelled:
                child.cancel()
            if self._closed:
                child.kill()
        output = Output(lambda _: None)
        answer = child.listen(output, time.monotonic() + self._import_deadline_s)
        if isinstance(answer, frames.Frame) and answer.kind == frames.READY:
            return child
        code = self._bury(run, child)
        if isinstance(answer, frames.Frame):
            told = json.loads(answer.meta)
            return endings.not_started(f"{told['type']}: {told['message']}", type=told["type"], traceback=told["traceback"])
        if self._closed:
            return endings.pool_closed()
        reason = f"the import ended its process ({endings.death_words(code)})"
        if answer is Loss.TIMEOUT:
            reason = f"the import did not end within {self._import_deadline_s:g} s; move slow work into the handler"
        return endings.not_started(reason, traceback=endings.last_words(output.tail))

    def give_back(self, run: Run, child: WarmChild, answer: frames.Frame | Loss) -> int:
        """Keep the child for the next call, or end it; returns its exit code (0 while it lives)."""
        fit = isinstance(answer, frames.Frame) and not answer.flags & frames.SPENT
        with self._lock:
            if fit and not run.cancelled and not self._closed and child.calls < self._max_calls:
                run.child = None
                self._runs.discard(run)
                child.idle_since = time.monotonic()
                self._idle.append(child)
                self._changed.notify_all()
                return 0
        if fit:
            child.dismiss()
        return self._bury(run, child, _LEAVE_S if fit else 0.0)

    def _bury(self, run: Run, child: WarmChild, grace_s: float = 0.0) -> int:
        with self._lock:
            run.child = None  # from here on nobody may signal it
        try:
            return child.bury(grace_s)
        finally:
            self._count_out()

    def _count_out(self) -> None:
        """One child less; the thread that started them ends with the last."""
        with self._lock:
            self._size -= 1
            if self._size == 0 and self._spawner is not None:
                self._spawner.shutdown(wait=False)
                self._spawner = None

    def begin(self, run: Run) -> bool:
        """Note a run that starts a child by itself; False when this is closed."""
        with self._lock:
            if not self._closed:
                self._runs.add(run)
            return not self._closed

    def end(self, run: Run) -> None:
        """Note that a run is over, wherever it has broken off."""
        if run not in self._runs:
            return  # nearly always: it ended as its child was given back
        with self._changed:
            self._runs.discard(run)
            self._changed.notify_all()

    def cancel(self, invocation_id: str) -> bool:
        """End the call of this invocation: SIGTERM, after two seconds SIGKILL for the whole tree. False: none runs here.

        Returns at once; the thread that waits in `call` gets the ending, of kind "cancelled".
        """
        with self._lock:
            runs = [run for run in self._runs if run.invocation_id == invocation_id]
            for run in runs:
                run.cancelled = True
                if run.child is not None:
                    run.child.cancel()
            self._changed.notify_all()
        return bool(runs)

    def reap_idle(self) -> None:
        """End the children that were idle for longer than `idle_s`; call this about once a second."""
        cut = time.monotonic() - self._idle_s
        with self._lock:
            old = [child for child in self._idle if child.idle_since <= cut]
            self._idle = [child for child in self._idle if child.idle_since > cut]
        self._dismiss(old, _LEAVE_S)

    def close(self, grace_s: float = 2.0) -> None:
        """End all children; calls in progress have `grace_s` seconds to end before theirs is killed."""
        ends = time.monotonic() + grace_s
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        self._dismiss(idle, grace_s)
        with self._changed:
            self._changed.wait_for(lambda: not self._runs, max(0.0, ends - time.monotonic()))
            for run in self._runs:
                if run.child is not None:
                    run.child.kill()
            self._changed.wait_for(lambda: not self._runs, _LEAVE_S)

    def _dismiss(self, children: list[WarmChild], grace_s: float) -> None:
        ends = time.monotonic() + grace_s
        for child in children:
            child.dismiss()
        for child in children:
            self._bury(Run(""), child, max(0.001, ends - time.monotonic()))
