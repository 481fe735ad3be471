"""Keeps a process from changing files, by Landlock: the kernel's own sandbox, which needs no privilege (landlock(7)).

Linux 5.13 and later have it, Debian 12 and later switch it on. Elsewhere nothing is confined. What it refuses is to open a file
for writing and to make, move, link or remove one. It refuses truncate(2) from ABI 3 on (Linux 6.2; Debian 12's own 6.1 has ABI 2),
and no version refuses to change modes, owners, times or extended attributes.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

# include/uapi/linux/landlock.h, and the numbers that every architecture shares
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_WRITE_FILE = 1 << 1
# REMOVE_DIR, REMOVE_FILE and all MAKE_*: bits 4 to 12
_CHANGE_FOLDERS = 0b1_1111_1111 << 4
_REFER, _REFER_SINCE = 1 << 13, 2
_TRUNCATE, _TRUNCATE_SINCE = 1 << 14, 3
_PR_SET_NO_NEW_PRIVS = 38

#: Where a process may write besides: nothing is kept there, or (the last) it is how semaphores are made.
_HARMLESS = ("/dev/null", "/dev/full", "/dev/zero", "/dev/tty", "/dev/shm")  # noqa: S108  # a device, no temporary file


#: Helpers that multiprocessing keeps on purpose, by a word of their command line: an import may leave them running.
KEPT_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def allow_writes_below(*places: Path) -> bool:
    """Let this process, and all that it starts, write, make, move and remove files below `places` only.

    Returns False where the kernel cannot do that; what it never refuses is said above.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if abi < 1:
        return False
    handled = _WRITE_FILE | _CHANGE_FOLDERS
    handled |= _REFER if abi >= _REFER_SINCE else 0
    handled |= _TRUNCATE if abi >= _TRUNCATE_SINCE else 0
    attributes = ctypes.c_uint64(handled)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        for place in (*places, *map(Path, _HARMLESS)):
            _allow(libc, ruleset, place, handled)
        unused = (ctypes.c_ulong(0),) * 3
        failed: int = libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), *unused) or libc.syscall(_RESTRICT_SELF, ruleset, 0)
        return not failed
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, place: Path, handled: int) -> None:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it is not there, so nobody writes to it
        return
    try:
        allowed = handled if place.is_dir() else handled & (_WRITE_FILE | _TRUNCATE)
        rule = _Beneath(allowed, descriptor)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)
