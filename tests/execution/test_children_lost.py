"""Handlers that crash, hang, hoard or leave processes behind: each ends its own attempt, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runtime.execution.processes import reap

Make = Callable[..., Any]

HOSTILE = """
    import ctypes, mmap, os, re, signal, subprocess, sys, threading, time

    def note(path, *pids):
        with open(path + ".part", "w") as file:
            file.write(" ".join(map(str, pids)))
        os.rename(path + ".part", path)

    @function
    def fine(x: int = 1): return x

    @function
    def segfault(): ctypes.string_at(0)

    @function
    def abort(): os.abort()

    @function
    def leave(): os._exit(3)

    @function
    def real_time_signal(): os.kill(os.getpid(), 40)

    @function
    def two_gigabytes(): return len(bytearray(2 * 10**9))

    @function
    def hoard():
        kept = []
        while True: kept.append(bytearray(10**6))

    @function
    def hoard_in_shared_memory():
        kept = []
        while True:
            kept.append(mmap.mmap(-1, 10 * 2**20))
            kept[-1].write(b"x" * 10 * 2**20)

    @function
    def hoard_in_a_subprocess():
        code = "import mmap, time; m = mmap.mmap(-1, 2**28); [m.write(bytes(2**20)) for _ in range(256)]; time.sleep(60)"
        subprocess.run([sys.executable, "-c", code], check=True)

    @function
    def loop_in_python():
        while True: pass

    @function
    def loop_in_c(): sum(range(10**12))

    @function
    def backtrack(): re.match("(a+)+$", "a" * 64 + "b")

    @function
    def power(): return 3 ** 10**9

    @function
    def sleep(seconds: float = 60): time.sleep(seconds)

    @function
    def deaf():
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        time.sleep(60)

    def plain(path):
        process = subprocess.Popen(["sleep", "300"])
        note(path, process.pid)

    def in_a_new_session(path):
        process = subprocess.Popen(["sleep", "300"], start_new_session=True, env={"PATH": os.environ["PATH"]})
        note(path, process.pid)

    def forked(path):
        if not (pid := os.fork()):
            time.sleep(300)
            os._exit(0)
        note(path, pid)

    def daemon(path):
        if not os.fork():
            os.setsid()
            if os.fork(): os._exit(0)
            note(path, os.getpid())
            time.sleep(300)
            os._exit(0)
        while not os.path.exists(path): time.sleep(0.005)

    @function
    def breed(how: str, path: str, then: str = ""):
        globals()[how](path)
        if then:
            globals()[then]()
        return "returned"
"""

#: function and the kind its attempt ends with, within half a second
DEADLY = {
    "segfault": "crash",
    "abort": "crash",
    "leave": "crash",
    "two_gigabytes": "memory",
    "hoard": "memory",
    "hoard_in_shared_memory": "memory",
    "hoard_in_a_subprocess": "memory",
    "loop_in_python": "timeout",
    "loop_in_c": "timeout",
    "backtrack": "timeout",
    "power": "timeout",
    "sleep": "timeout",
    "deaf": "timeout",
}


@pytest.mark.parametrize(("function", "kind"), DEADLY.items())
def test_handler_that_ends_its_child(children: Make, function: str, kind: str) -> None:
    """Whatever it does, the attempt ends in time with its own kind of failure, and the next call works."""
    sample = children(HOSTILE)
    limit = 200 * 10**6 if kind == "memory" else 512 * 10**6
    ending = sample.call(function, timeout_s=10 if kind == "memory" else 0.4, memory_bytes=limit)
    assert (ending.failure.kind, ending.failure.child_died) == (kind, True), ending.failure
    assert repr(function) in ending.failure.message
    assert ending.duration_s < 5
    assert sample.pool.size == 0
    assert sample.result("fine") == 1


def test_message_of_each_loss(children: Make) -> None:
    """Signals, exit codes and limits are named; a crash shows its stack, a timeout where the handler was."""
    sample = children(HOSTILE)
    segfault = sample.call("segfault").failure
    assert "SIGSEGV" in segfault.message
    assert "in segfault" in segfault.traceback
    assert "SIGABRT" in sample.call("abort").failure.message
    assert "exit code 3" in sample.call("leave").failure.message
    assert "killed by signal 40" in sample.call("real_time_signal").failure.message
    memory = sample.call("two_gigabytes", memory_bytes=150 * 10**6).failure
    assert (memory.type, "150 MB" in memory.message, "in two_gigabytes" in memory.traceback) == ("MemoryError", True, True)
    timeout = sample.call("loop_in_c", timeout_s=0.3).failure
    assert "0.3 s" in timeout.message
    assert "in loop_in_c" in timeout.traceback
    assert "runtime/execution" not in timeout.traceback


@pytest.mark.parametrize("then", ["", "leave", "segfault", "loop_in_c", "two_gigabytes"])
@pytest.mark.parametrize("how", ["plain", "in_a_new_session", "forked", "daemon"])
def test_processes_a_handler_leaves_behind(children: Make, gone: Callable[[int], bool], how: str, then: str) -> None:
    """However the child ends, what it started is killed and reaped; a handler that returns at that is told so."""
    sample = children(HOSTILE)
    pids = sample.folder.parent / "pids"
    failure = sample.call(
        "breed", {"how": how, "path": str(pids), "then": then}, timeout_s=1 if then == "loop_in_c" else 20
    ).failure
    assert failure.kind == {"": "leftover", "loop_in_c": "timeout", "two_gigabytes": "memory"}.get(then, "crash")
    assert failure.child_died
    if not then:
        assert ("sleep 300" if how in ("plain", "in_a_new_session") else "runtime.execution.child") in failure.message
    assert all(gone(int(pid)) for pid in pids.read_text().split())
    assert sample.result("fine") == 1


def test_processes_that_end_by_themselves(children: Make) -> None:
    """A terminated process that is not waited for, a finished pool and multiprocessing's own helpers are no leftovers."""
    sample = children(
        """
        import concurrent.futures, multiprocessing, multiprocessing.shared_memory, subprocess
        def double(x): return 2 * x
        @function
        def unwaited():
            process = subprocess.Popen(["sleep", "300"])
            process.terminate()
        @function
        def pooled():
            with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
                return list(pool.map(abs, [-1, 2]))
        @function
        def tracked():
            block = multiprocessing.shared_memory.SharedMemory(create=True, size=10)
            block.close()
            block.unlink()
        """
    )
    for function, result in (("unwaited", None), ("pooled", [1, 2]), ("tracked", None), ("unwaited", None)):
        assert sample.result(function) == result
    assert sample.pool.size == 1


def test_fork_that_returns_from_the_handler(children: Make) -> None:
    """Only the child itself answers; its fork ends silently."""
    sample = children(
        "import os\n@function\ndef run():\n    pid = os.fork()\n    if pid: os.waitpid(pid, 0)\n    return pid > 0"
    )
    assert [sample.result("run") for _ in range(3)] == [True] * 3
    assert sample.pool.size == 1


def test_fork_that_is_terminated(children: Make) -> None:
    """SIGTERM ends a forked process as it does everywhere, and what it says does not pass for its parent's words."""
    sample = children(
        """
        import logging, multiprocessing, time
        def work(ready, ctx):
            logging.warning("from the fork")
            try:
                ctx.progress(0.5)
            except RuntimeError as error:
                print(error, flush=True)
            ready.set()
            time.sleep(60)
        @function
        def run(*, ctx: Context):
            fork = multiprocessing.get_context("fork")
            ready = fork.Event()
            process = fork.Process(target=work, args=(ready, ctx))
            process.start()
            ready.wait(10)
            process.terminate()
            process.join()
            return process.exitcode
        """
    )
    assert sample.result("run") == -signal.SIGTERM
    assert sample.lines("stderr") == ["from the fork"]
    assert "only the process that runs the handler" in sample.lines("stdout")[0]
    assert sample.lines("log") == []


def test_threads_and_reservations_within_a_small_limit(children: Make) -> None:
    """Address space that is reserved and not used does not count as memory."""
    sample = children(
        """
        import concurrent.futures, mmap, threading
        reserved = mmap.mmap(-1, 2**31, prot=mmap.PROT_READ)
        @function
        def run():
            more = mmap.mmap(-1, 2**31, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            together = threading.Barrier(24)
            with concurrent.futures.ThreadPoolExecutor(24) as pool:
                return len({pool.submit(together.wait, 10).result for _ in range(24)})
        """
    )
    assert sample.result("run", memory_bytes=128 * 10**6) == 24


def test_memory_limits_differ_by_function(children: Make) -> None:
    """One child serves functions of different limits, each held to its own."""
    sample = children("@function\ndef take(size: int): return len(bytearray(size))")
    assert sample.result("take", {"size": 250 * 10**6}, memory_bytes=400 * 10**6) == 250 * 10**6
    assert sample.call("take", {"size": 250 * 10**6}, memory_bytes=200 * 10**6).failure.kind == "memory"
    assert sample.result("take", {"size": 250 * 10**6}, memory_bytes=400 * 10**6) == 250 * 10**6


def test_file_beyond_the_limit(children: Make) -> None:
    """A file larger than allowed fails its write as an ordinary error."""
    code = (
        "import os, tempfile\n@function\ndef run():\n    with tempfile.TemporaryFile() as f: os.truncate(f.fileno(), 5 * 2**30)"
    )
    failure = children(code).call("run").failure
    assert (failure.kind, failure.type) == ("raised", "OSError")
    assert "File too large" in failure.message


def test_neighbours_of_a_hostile_handler(children: Make) -> None:
    """While every kind of death happens on one thread, 200 calls on other threads succeed."""
    sample = children(HOSTILE)
    kinds: list[str] = []
    begun = threading.Event()

    def die() -> None:
        for function, kind in DEADLY.items():
            changes = {"timeout_s": 10 if kind == "memory" else 0.2, "memory_bytes": 200 * 10**6}
            kinds.append(sample.call(function, **changes).failure.kind)
            begun.set()

    hostile = threading.Thread(target=die)
    hostile.start()
    assert begun.wait(10)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda x: sample.result("fine", {"x": x}), range(200)))
    hostile.join(60)
    assert results == list(range(200))
    assert kinds == list(DEADLY.values())


def test_worker_that_is_killed(tmp_path: Path, eventually: Callable[..., None], gone: Callable[[int], bool]) -> None:
    """SIGKILL of the worker takes its children along, busy in C code as they may be."""
    folder = tmp_path / "folder"
    folder.mkdir()
    note = tmp_path / "pid"
    (folder / "__init__.py").write_text(
        "import os, re\nfrom runtime import function\n@function\ndef loop(path: str):\n"
        "    open(path + '.part', 'w').write(str(os.getpid()))\n    os.rename(path + '.part', path)\n"
        "    re.match('(a+)+$', 'a' * 64 + 'b')\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(folder), str(tmp_path / "state"), str(note)], stdout=subprocess.DEVNULL
    )
    try:
        eventually(note.exists)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    child = int(note.read_text())
    reap([child])  # where this process adopts orphans; it waits for the death
    eventually(lambda: gone(child))


_OWNER = """
import sys
from pathlib import Path
from runtime.execution.pool import Call, ChildPool
folder, state, note = sys.argv[1:]
pool = ChildPool(folder=Path(folder), name="sample", state_dir=Path(state), secret=lambda _: None)
event = b'{"id": "1", "source": "/", "type": "t", "data": {"path": "%s"}}' % note.encode()
pool.call(Call("1", "loop", 1, event, None, "1", 60.0, 512 * 10**6, {}, ()), print)
"""
