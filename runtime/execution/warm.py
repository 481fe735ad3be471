"""The worker's side of one warm child: its process, its socket and its two pipes, from spawn to burial."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from runtime.execution import frames, processes, temporary
from runtime.execution.handover import Read, fetched, read_nothing
from runtime.execution.output import Output

#: seconds a cancelled handler has to clean up
CANCEL_GRACE_S: Final = 2.0

#: seconds between looks at a running child: its memory, and whether it was cancelled
_LOOK_S: Final = 0.25

# Seconds without a word after which a dying child has said where it is.
_WHERE_S = 0.02

# Reads between two calls; a thread of the author's code may print without end.
_SETTLE_READS = 16

#: frames up to this size go down in one piece; a larger body is not copied behind its header
_ONE_PIECE_BYTES = 64 * 1024

_PIPE_BYTES = 64 * 1024

#: what a new child inherits of the worker's environment
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ")


#: What reading a child's words raises when they are none of a child's.
GARBLED = (frames.FrameError, ValueError, LookupError, TypeError)


class Loss(Enum):
    """Why a call got no answer."""

    DEATH = "death"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CANCELLED = "cancelled"
    #: it was dead before it could read the call
    UNHEARD = "unheard"
    #: what it said is not what children say: the author's code wrote to the socket, or replaced what writes to it
    GARBLED = "garbled"


@dataclass(frozen=True, slots=True)
class Home:
    """Where children of one version live."""

    folder: Path
    name: str
    python: str
    state_dir: Path
    #: reads the results that handlers ask for
    read: Read = read_nothing


class WarmChild:
    """One child process. Used by one thread at a time; only `cancel` may come from another."""

    def __init__(self, home: Home) -> None:
        """Start the process; `listen` for READY before the first call. Call this in a thread that outlives the child.

        Raises:
            OSError: the interpreter or the folder is gone, or the system is out of processes.
        """
        self.calls = 0
        self.idle_since = 0.0
        self.cancelled_at: float | None = None
        self._home, self._deadline = home, math.inf
        self._temp = tempfile.mkdtemp(prefix=temporary.PREFIX)
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            ours.callback(shutil.rmtree, self._temp, ignore_errors=True)
            # The lock tells `temporary.sweep` of other workers that the folder is in use.
            ours.callback(os.close, lock := os.open(self._temp, os.O_RDONLY))
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._socket, child_socket = socket.socketpair()
            ours.enter_context(self._socket)
            theirs.enter_context(child_socket)
            pipes = {}
            for stream in ("stdout", "stderr"):
                reader, writer = os.pipe()
                ours.callback(os.close, reader)
                theirs.callback(os.close, writer)
                os.set_blocking(reader, False)
                pipes[stream] = (reader, writer)
            self._process = subprocess.Popen(
                [
                    home.python,
                    *("-P", "-s", "-m", "runtime.execution.child"),
                    *(str(child_socket.fileno()), str(os.getpid()), home.name, str(home.folder), str(home.state_dir)),
                ],
                cwd=home.folder,
                env=self._environment(home),
                stdin=subprocess.DEVNULL,
                stdout=pipes["stdout"][1],
                stderr=pipes["stderr"][1],
                pass_fds=(child_socket.fileno(),),
                start_new_session=True,
            )
            self.pid = self._process.pid
            self._pidfd = os.pidfd_open(self.pid)
            ours.callback(os.close, self._pidfd)
            self._ours = ours.pop_all()
        self._socket.setblocking(False)
        self._reader = frames.FrameReader()
        self._streams = {reader: stream for stream, (reader, _) in pipes.items()}
        # The socket comes first: poll(2) looks in this order, so when it sees an answer, it also sees all that was
        # printed before it.
        self._poll = select.poll()
        for descriptor in (self._socket.fileno(), *self._streams, self._pidfd):
            self._poll.register(descriptor, select.POLLIN)

    def _environment(self, home: Home) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            "HOME": str(home.state_dir),
            "TMPDIR": self._temp,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def settle(self) -> bool:
        """Drop what came in between two calls; tell whether the child lives."""
        nothing = Output(lambda _: None)
        for _ in range(_SETTLE_READS):
            events = self._poll.poll(0)
            if not events:
                break
            try:
                _, alive = self._take(events, nothing)
            except GARBLED:
                return False
            if not alive:
                return False
        return True

    def send(self, kind: int, meta: bytes, body: bytes, flags: int, deadline: float) -> Loss | None:
        """Send one frame down; `deadline` is on the monotonic clock."""
        if len(meta) + len(body) <= _ONE_PIECE_BYTES:
            pieces = [frames.pack(kind, meta, body, flags)]
        else:
            pieces = [frames.HEADER.pack(kind, flags, len(meta), len(body)) + meta, body]
        for piece in pieces:
            left = memoryview(piece)
            while left:
                try:
                    left = left[self._socket.send(left) :]
                except BlockingIOError:
                    ready = select.poll()
                    ready.register(self._socket, select.POLLOUT)
                    if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                        return Loss.TIMEOUT
                except OSError:
                    return Loss.UNHEARD
        return None

    def listen(self, output: Output, deadline: float, memory_bytes: float = math.inf) -> frames.Frame | Loss:
        """Pass on what the child says until it answers, or is lost to `deadline`, its memory, a cancel or its own death."""
        self._deadline = deadline
        next_look = time.monotonic() + _LOOK_S
        wait_s = min(deadline - time.monotonic(), _LOOK_S)
        while True:
            events = self._poll.poll(max(0, math.ceil(wait_s * 1000)))
            if events:
                try:
                    answer, alive = self._take(events, output)
                except GARBLED:
                    return Loss.GARBLED
                if answer is not None:
                    return answer
                if not alive:
                    return Loss.DEATH
            now = time.monotonic()
            cancelled_at = self.cancelled_at
            if cancelled_at is not None and now >= cancelled_at + CANCEL_GRACE_S:
                return Loss.CANCELLED
            if now >= deadline:
                return Loss.CANCELLED if cancelled_at is not None else Loss.TIMEOUT
            if output.due is not None and now >= output.due:
                output.flush()
            if now >= next_look:
                next_look = now + _LOOK_S
                if memory_bytes < math.inf and processes.tree_memory_bytes(self.pid, int(memory_bytes)) > memory_bytes:
                    return Loss.MEMORY
            wait_s = min(deadline, next_look, output.due or math.inf) - now

    def _take(self, events: list[tuple[int, int]], output: Output) -> tuple[frames.Frame | None, bool]:
        """Read what is ready. Returns the answer, if it is there, and whether more can come."""
        answer, alive = None, True
        # The socket last: what was printed before a frame was sent is ready with it, and comes first.
        for descriptor, _ in events[1:] + events[:1]:
            if descriptor in self._streams:
                self._take_text(descriptor, output)
            elif descriptor == self._pidfd:
                # Dead: nothing more is written by it, so one last look at each end sees all.
                alive = False
                answer = self._take_frames(output, to_the_end=True) or answer
                for stream in self._streams:
                    self._take_text(stream, output)
            else:
                answer = self._take_frames(output) or answer
        return answer, alive

    def _take_frames(self, output: Output, *, to_the_end: bool = False) -> frames.Frame | None:
        answer = None
        while True:
            try:
                found = self._reader.read(self._socket)
            except BlockingIOError:
                return answer
            except OSError:
                found = None
            if found is None:
                # Closed; its death follows at once, or the author's code closed it and the deadline ends it.
                with contextlib.suppress(KeyError):
                    self._poll.unregister(self._socket)
                return answer
            for frame in found:
                if frame.kind == frames.LOG:
                    output.record(frame.meta)
                elif frame.kind == frames.PROGRESS:
                    output.progress(frame.meta)
                elif frame.kind == frames.FETCH:
                    self.send(frames.FETCHED, *fetched(frame.meta, self._home.read), 0, self._deadline)
                elif answer is None:
                    answer = frame
                else:
                    raise frames.FrameError("a call was answered twice")
            if not to_the_end:
                return answer

    def _take_text(self, descriptor: int, output: Output) -> None:
        with contextlib.suppress(BlockingIOError):
            if data := os.read(descriptor, _PIPE_BYTES):
                output.text(self._streams[descriptor], data)
            else:
                # The author's code closed its stdout or stderr.
                with contextlib.suppress(KeyError):
                    self._poll.unregister(descriptor)

    def cancel(self) -> None:
        """Ask the handler to end: SIGTERM now; `listen` gives up after `CANCEL_GRACE_S`. The caller holds a call open."""
        if self.cancelled_at is not None:
            return  # each renewal of the lease says so again: that must neither cut the clean-up short nor put off its end
        self.cancelled_at = time.monotonic()
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def where(self) -> bytes:
        """Ask a child that is about to be killed for its stack, innermost frame first; empty when it cannot say."""
        said = Output(lambda _: None)
        with contextlib.suppress(OSError, frames.FrameError):
            signal.pidfd_send_signal(self._pidfd, processes.WHERE_SIGNAL)
            ends = time.monotonic() + 5 * _WHERE_S
            while time.monotonic() < ends and (events := self._poll.poll(_WHERE_S * 1000)):
                self._take(events, said)
        return said.tail.rpartition(b"Stack (most recent call first):\n")[2]

    def kill(self) -> None:
        """SIGKILL the child itself; the thread that listens to it buries it, and its tree."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def dismiss(self) -> None:
        """Let an idle child leave by itself; `bury` it afterwards."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def bury(self, grace_s: float = 0.0) -> int:
        """End the child and all it started, and free what it held; returns its exit code, negative for a signal."""
        killed: set[int] = set()
        try:
            code = self._process.wait(grace_s) if grace_s else self._process.poll()
        except subprocess.TimeoutExpired:
            code = None
        if code is None:
            killed = processes.kill_tree(self.pid) - {self.pid}
            code = self._process.wait()
        killed |= processes.kill_strays(self.pid)
        processes.reap(killed)
        self._ours.close()
        return code
