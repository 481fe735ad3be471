"""The child's own main: imports one folder, then runs one call after the other until its socket closes.

    python -P -s -m runtime.execution.child SOCKET_FD WORKER_PID NAME FOLDER STATE_DIR

What the author's code prints goes to the real stdout and stderr, which are pipes to the worker; logging goes up
as frames. This process may be killed at any instant: all that must survive is told to the worker first.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from _signal import getsignal  # type: ignore[import-not-found]  # untyped; `signal.getsignal` looks for a name first: 3 µs
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from fcntl import F_GETPIPE_SZ, fcntl
from json import loads  # by name: the author's code may replace what `json` holds
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.authoring.artifact import Artifact
from runtime.authoring.context import Context, MissingArtifactError
from runtime.authoring.errors import OnCueError
from runtime.authoring.event import Event
from runtime.authoring.handler import Handler, InputError
from runtime.authoring.loading import load_folder
from runtime.execution import frames, processes, results
from runtime.execution.channel import Channel, LogFrames

if TYPE_CHECKING:
    import asyncio

#: seconds of CPU time beyond what a call may take that are allowed at once, so that the limit need not be moved for each call
_CPU_AHEAD_S: Final = 20

# CPython's own choice on Windows (PC/pyconfig: 2 MB); the 8 MB of Linux would count against the memory limit.
_THREAD_STACK_BYTES: Final = 2 * 2**20

#: seconds that processes may take to end after the handler has returned
_LEFTOVER_GRACE_S: Final = 0.2


class _Cancelled(BaseException):
    """Raised inside the handler when the invocation is cancelled, so that `finally` blocks run."""


class _Child:
    def __init__(self, channel: Channel, folder: Path, state_dir: Path) -> None:
        self._channel, self._folder, self._state_dir = channel, str(folder), state_dir
        self._handlers: dict[str, Handler] = {}
        self._runner: asyncio.Runner | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_running = False
        #: tells one call from another: what a thread of an earlier call says is not the present one's
        self._call = 0
        self._memory_bytes = 0
        # The CPU time that the limit was set for, and until when it leaves that much, on the monotonic clock.
        self._cpu_s, self._cpu_until = 0.0, 0.0
        self._umask = 0
        self._known: set[int] = set()
        # Linux counts the CPU time of all threads together.
        self._cpus = os.cpu_count() or 1

    def start(self, name: str) -> None:
        self._handlers = {handler.name: handler for handler in load_folder(Path(self._folder), name)}
        if any(handler.is_async for handler in self._handlers.values()):
            import asyncio  # a tenth of a cold start, which folders without async handlers are spared

            self._runner = asyncio.Runner()
        self._known = processes.descendants(os.getpid())
        self._streams, self._pipes, self._place = (sys.stdout, sys.stderr), _pipes(), str(Path.cwd())
        os.umask(umask := os.umask(0o077))
        self._umask = umask
        # What is imported now lives as long as the child: spare every later collection the walk.
        gc.freeze()

    def serve(self) -> None:
        signal.signal(signal.SIGTERM, self._on_sigterm)
        # For what the author's code forks, SIGTERM means what it always does.
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
        while (frame := self._channel.receive()) is not None:
            if frame.kind == frames.CALL:  # not the late answer to a handler that was cancelled meanwhile
                self._answer(frame)
                self._tidy()
            del frame  # large ones must not stay while the next is read

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        if not self._is_running:
            os._exit(0)
        if self._task is None:
            raise _Cancelled
        # An exception from here would hit the loop itself; cancelling is how a coroutine is told.
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def _answer(self, frame: frames.Frame) -> None:
        follow_ups = results.FollowUps()
        told: dict[str, Any] = {}
        body, flags, kind = b"", 0, frames.FAILURE
        self._is_running = True
        try:
            body, media_type, filename = self._run(frame, follow_ups)
            kind = frames.RESULT
            if media_type != results.JSON:
                told = {"media_type": media_type, "filename": filename}
        except InputError as error:
            told = {"kind": "input", "type": "InputError", "message": str(error), "errors": error.errors}
        except results.ResultError as error:
            told = {"kind": "result", "type": type(error.__cause__ or error).__name__, "message": str(error)}
        except _UnknownFunctionError as error:
            told = {"kind": "start", "type": "UnknownFunction", "message": str(error)}
        except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt are failures like any other
            if isinstance(error, MemoryError):
                processes.limit_memory(None)
            told = results.failure(error, self._folder)
            if told["kind"] == "memory":
                flags = frames.SPENT
        finally:
            self._is_running = False
        self._channel.await_answers()
        if not self._write_out():
            flags = frames.SPENT
        if not self._channel.is_open:
            os._exit(0)  # a fork that came back from the handler: only the child itself answers
        if left := processes.left_behind(self._known, _LEFTOVER_GRACE_S):
            flags = frames.SPENT
            if kind == frames.RESULT:
                kind, told, body = frames.FAILURE, {"kind": "leftover", "left": left}, b""
        meta = frames.to_meta(told) if told else b""
        if follow_ups.written and kind == frames.RESULT:
            meta = b'{"follow_ups":[%s]%s' % (b",".join(follow_ups.written), b"," + meta[1:] if meta else b"}")
        self._channel.send(kind, meta, body, flags)

    def _write_out(self) -> bool:
        """Write out what was printed; False when the next call could not print."""
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except Exception:  # noqa: BLE001, S110  # the author's code may have closed or replaced them
            pass
        processes.flush_c_streams()
        try:
            return not (self._streams[0].closed or self._streams[1].closed) and _pipes() == self._pipes
        except OSError:
            return False

    def _tidy(self) -> None:
        """Undo what the next call must not inherit."""
        sys.stdout, sys.stderr = self._streams
        signal.alarm(0)
        os.umask(self._umask)
        os.chdir(self._place)
        if getsignal(signal.SIGTERM) != self._on_sigterm:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _run(self, frame: frames.Frame, follow_ups: results.FollowUps) -> tuple[bytes, str, str | None]:
        id, function, attempt, key, timeout_s, memory_bytes, trace, secrets, *document = loads(frame.meta)
        self._call = call = self._call + 1
        self._limit_cpu(timeout_s * self._cpus + 10)
        if memory_bytes != self._memory_bytes:
            processes.limit_memory(memory_bytes)
            self._memory_bytes = memory_bytes
        handler = self._handlers.get(function)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            raise _UnknownFunctionError(f"no function {function!r} is declared in {self._folder}; it declares {known}")

        def send(kind: str, payload: dict[str, Any]) -> None:
            if self._call != call or not self._is_running:
                raise OnCueError(f"ctx.{kind} was called after the handler had returned; call it before")
            if kind == "progress":
                self._channel.send(frames.PROGRESS, frames.to_meta(payload))
            else:
                follow_ups.add(kind, payload)

        context = Context(
            id=id,
            function=function,
            attempt=attempt,
            deadline=datetime.now(UTC) + timedelta(seconds=timeout_s),
            idempotency_key=key,
            state_dir=self._state_dir,
            secrets=secrets,
            trace=trace,
            send=send,
            artifact=lambda invocation_id: self._artifact(invocation_id, call),
        )
        # A blob is the whole body: to cut it out would take its size once more.
        has_blob = frame.flags & frames.HAS_BLOB
        event = Event.from_document(document[0] if has_blob else loads(frame.body))
        arguments = handler.arguments(event, frame.body if has_blob else None, context)
        if self._runner is not None and handler.is_async:
            value = self._runner.run(self._await(handler.call(**arguments)))
        else:
            value = handler.call(**arguments)
        body, media_type, filename = results.encode(value)
        if len(body) > frames.MAX_RESULT_BYTES:
            raise results.ResultError(f"the result has {len(body):,} bytes; the most is {frames.MAX_RESULT_BYTES:,}")
        return body, media_type, filename

    def _limit_cpu(self, seconds: float) -> None:
        now = time.monotonic()
        if seconds != self._cpu_s or now > self._cpu_until:
            processes.limit_cpu(seconds + _CPU_AHEAD_S)
            self._cpu_s, self._cpu_until = seconds, now + _CPU_AHEAD_S / self._cpus

    def _artifact(self, invocation_id: str, call: int) -> Artifact:
        meta = frames.to_meta({"id": invocation_id})
        answer = self._channel.ask(frames.FETCH, meta, lambda: self._is_running and self._call == call)
        told = loads(answer.meta)
        if "error" in told:
            raise (MissingArtifactError if told["missing"] else OnCueError)(told["error"])
        return Artifact(answer.body, told["media_type"], told["filename"])

    async def _await(self, awaitable: Awaitable[Any]) -> Any:
        import asyncio  # as above; loaded by now

        self._task = asyncio.current_task()
        try:
            return await awaitable
        finally:
            self._task = None


def _pipes() -> tuple[int, int]:
    """Tell the sizes of the pipes that are stdout and stderr; OSError when something else, or nothing, is open there."""
    return fcntl(1, F_GETPIPE_SZ), fcntl(2, F_GETPIPE_SZ)


class _UnknownFunctionError(Exception):
    """The worker asks for a function that this folder does not declare."""


def _capture_output(channel: Channel) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]  # TextIOWrapper here
    logging.root.addHandler(LogFrames(channel))
    logging.root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    faulthandler.enable()
    # Asked for at the timeout: works where no Python code runs any more.
    faulthandler.register(processes.WHERE_SIGNAL, all_threads=False)


def main() -> None:
    """Serve calls; leave by `os._exit`, so that threads of the author's code cannot hold the process."""
    descriptor, worker, name, folder, state_dir = sys.argv[1:]
    processes.die_with_parent(int(worker))
    processes.adopt_orphans()
    processes.limit_files()
    threading.stack_size(_THREAD_STACK_BYTES)
    link = socket.socket(fileno=int(descriptor))
    link.set_inheritable(False)
    channel = Channel(link)
    _capture_output(channel)
    child = _Child(channel, Path(folder), Path(state_dir))
    _start(child, channel, name, folder)
    leave: Callable[[], None] = atexit._run_exitfuncs
    child.serve()
    leave()
    os._exit(0)


def _start(child: _Child, channel: Channel, name: str, folder: str) -> None:
    try:
        child.start(name)
    except BaseException as error:  # noqa: BLE001  # SystemExit of the author's code included
        channel.send(frames.START_FAILED, frames.to_meta(results.failure(error, folder)))
        os._exit(1)
    channel.send(frames.READY)


if __name__ == "__main__":
    main()
