"""Ties a process to the life of its parent, then becomes the program it is given.

    python -I -S infra/tether.py PARENT_PID PROGRAM [ARGUMENT …]

The kernel sends SIGKILL to the program when the thread that started it ends, also after a `kill -9` of the parent.
A program of its own does this, not subprocess's `preexec_fn`, which may deadlock where the parent has threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: prctl(2), include/uapi/linux/prctl.h
PR_SET_PDEATHSIG = 1


def command(program: list[str]) -> list[str]:
    """The command line that runs `program` tied to this process. Start it from the main thread."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *program]


def main() -> None:
    """Take the parent's pid and the program from the command line."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):  # the parent ended before the kernel was told
        sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  # the command comes from `command`, as a list


if __name__ == "__main__":
    main()
