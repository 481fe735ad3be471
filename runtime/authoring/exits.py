"""How a process ended, in words."""

from __future__ import annotations

import signal


def exit_words(code: int) -> str:
    """Name how a process ended: "killed by SIGSEGV", "exit code 3". `code` is negative for a signal, as `subprocess` has it."""
    if code >= 0:
        return f"exit code {code}"
    named = {number.value: number.name for number in signal.Signals}  # most real-time signals have no name
    return f"killed by {named.get(-code, f'signal {-code}')}"
