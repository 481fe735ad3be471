"""Process trees on Linux: tie them to their parent, bound them, measure them, and end them without a trace.

Nothing here knows of invocations. prctl(2) and proc(5) are the sources of what looks odd.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from runtime.authoring.confining import KEPT_HELPERS

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

#: the largest file a child may write, in bytes, but for its brand
MAX_FILE_BYTES: Final = 4 * 2**30

# Above every pid (PID_MAX_LIMIT in linux/threads.h).
_PIDS = 2**22

#: asks a child to write its main thread's stack to stderr; a number that authors' code hardly uses
WHERE_SIGNAL: Final = signal.SIGRTMAX - 3

_PAGE = resource.getpagesize()


def die_with_parent(parent: int) -> None:
    """Have the kernel SIGKILL this process when the thread that started it ends; exit when that has happened already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Make this process the parent of every orphaned descendant, instead of init: so each can be found and reaped."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def flush_c_streams() -> None:
    """Write out what C code of this process has buffered for its own stdout and stderr."""
    _LIBC.fflush(None)


_LIBC = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def limit_files() -> None:
    """No core dumps, and no file beyond `MAX_FILE_BYTES` (a write beyond is EFBIG); brands this process and what it starts."""
    _set_soft_limit(resource.RLIMIT_CORE, 0)
    brand = _brand(os.getpid())
    resource.setrlimit(resource.RLIMIT_FSIZE, (brand, brand))


def _brand(pid: int) -> int:
    """The file size limit of a child and all its descendants, which tells whose they are.

    A limit is inherited where parent, session and environment may be changed: by double forks, setsid and `env={}`.
    """
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    return (MAX_FILE_BYTES if hard == resource.RLIM_INFINITY else min(MAX_FILE_BYTES, hard - _PIDS)) + pid


def limit_memory(memory_bytes: int | None) -> None:
    """Let this process take `memory_bytes` of memory of its own; None lifts the limit.

    The limit is RLIMIT_DATA: private writable memory. Address space (RLIMIT_AS) would count mapped files and
    the heaps that glibc and numeric libraries reserve for each thread and never touch. What is reserved and
    untouched now (thread stacks, mostly) is added.
    """
    if memory_bytes is None:
        _set_soft_limit(resource.RLIMIT_DATA, resource.RLIM_INFINITY)
        return
    _, resident, shared, _, _, data, *_ = map(int, Path("/proc/self/statm").read_text().split())
    _set_soft_limit(resource.RLIMIT_DATA, memory_bytes + max(0, data - (resident - shared)) * _PAGE)


def limit_cpu(seconds: float) -> None:
    """Let this process burn `seconds` of CPU time from now on; then SIGXCPU. A backstop for a stopped worker."""
    _set_soft_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds))


def _set_soft_limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    unlimited = resource.RLIM_INFINITY
    wanted = hard if value == unlimited or (hard != unlimited and value > hard) else value
    resource.setrlimit(which, (wanted, hard))


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # names only, so no Path for each


def _descendants_in_table(root: int) -> set[int]:
    """As `descendants`, from one look at every process: complete while the tree is stopped, and slower."""
    offspring: dict[int, list[int]] = {}
    for pid in _all_pids():
        with contextlib.suppress(OSError):
            # "42 (a (name) with) S 1 42 42 …": the name may hold anything, so count from the last ")".
            parent = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1]
            offspring.setdefault(int(parent), []).append(pid)
    found: set[int] = set()
    left = [root]
    while left:
        born = [pid for pid in offspring.get(left.pop(), ()) if pid not in found]
        found.update(born)
        left += born
    return found


def descendants(root: int) -> set[int]:
    """Return the pids of all living descendants, daemons included when `root` adopts orphans."""
    if not Path("/proc/thread-self/children").exists():  # a kernel without CONFIG_PROC_CHILDREN
        return _descendants_in_table(root)
    found: set[int] = set()
    left = [root]
    while left:
        pid = left.pop()
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # names only
                born = {int(child) for child in Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split()} - found
                found |= born
                left += born
    return found


def kill_tree(root: int) -> set[int]:
    """SIGKILL a process and all its descendants; return their pids. The caller reaps.

    All are stopped first, until a look at the whole table finds none that is new: a process that is about to
    stop cannot fork (the call restarts, see fork in the kernel's `copy_process`).
    """
    stopped: set[int] = set()
    found = {root}
    while new := found - stopped:
        for pid in new:
            _signal(pid, signal.SIGSTOP)
        stopped |= new
        found = _descendants_in_table(root)
    for pid in (*(stopped - {root}), root):
        _signal(pid, signal.SIGKILL)
    return stopped


def kill_strays(child: int) -> set[int]:
    """SIGKILL what a child that is dead has left, by its brand; returns the pids. The caller reaps."""
    brand, killed = _brand(child), set[int]()
    while strays := {pid for pid in _all_pids() if pid not in killed and _has_brand(pid, brand)}:
        for pid in strays:
            killed |= kill_tree(pid)
    return killed


def _has_brand(pid: int, brand: int) -> bool:
    try:
        return resource.prlimit(pid, resource.RLIMIT_FSIZE)[1] == brand
    except OSError:  # gone, or another user's
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def reap(pids: Iterable[int], deadline_s: float = 2.0) -> None:
    """Wait for killed processes that have become children of this one, so that no zombie stays."""
    ends = time.monotonic() + deadline_s
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < ends:
                time.sleep(0.001)


def left_behind(known: Iterable[int], grace_s: float) -> list[str]:
    """Return the command lines of this process's descendants that are neither ended nor `known`.

    Costs 2 µs when there is no child at all. Zombies are reaped; those about to end get `grace_s`.
    """
    ends = time.monotonic() + grace_s
    while True:
        try:
            while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):
                pass
        except ChildProcessError:
            return []
        lines = [_command_line(pid) for pid in sorted(descendants(os.getpid()) - set(known))]
        lines = [line for line in lines if line and not any(helper in line for helper in KEPT_HELPERS)]
        if not lines or time.monotonic() > ends:
            return lines
        time.sleep(0.005)


def _command_line(pid: int) -> str:
    """A process's command line, or its name in brackets; empty when it is gone or a zombie."""
    try:
        name, _, fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
        if fields.split()[0] in ("Z", "X"):
            return ""
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:200]
        # Empty for an instant in the middle of an exec, though the process lives.
        return line or f"[{name.partition('(')[2]}]"
    except OSError:
        return ""


def tree_memory_bytes(root: int, above: int) -> int:
    """Return the memory that a process and its descendants hold of their own, in bytes.

    Mapped files do not count. Pages that forks share are counted once, which is slow to find out, so only
    when the quick sum is `above`.
    """
    pids = (root, *descendants(root))
    quick = sum(_kilobytes(f"/proc/{pid}/status", b"RssAnon:", b"RssShmem:", b"VmSwap:") for pid in pids) * 1024
    if quick <= above:
        return quick
    exact = sum(_kilobytes(f"/proc/{pid}/smaps_rollup", b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:") for pid in pids)
    return exact * 1024


def _kilobytes(file: str, *keys: bytes) -> int:
    try:
        lines = Path(file).read_bytes().splitlines()
    except OSError:  # the process is gone
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(keys))
