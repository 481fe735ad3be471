"""The command `oncue`. Exit codes: 0 done, 1 failed, 2 used wrongly (or refused with a 4xx), 3 not done in time."""

from __future__ import annotations

import os
import re
import sys

from infra.unused import leave_out

#: Seconds that a bare `--wait` waits.
WAIT_S = "60"


def main() -> None:
    """Run the command line, and turn OnCue's own errors into one sentence and an exit code."""
    leave_out()
    # Each command imports what it needs when it runs: `oncue --help` is asked often and must come at once.
    from infra.cli.app import asked_for

    _open_standard_streams()
    try:
        try:
            words = _spell_out_wait(sys.argv[1:])
            asked_for(words)(args=words, prog_name="oncue")
        finally:
            sys.stdout.flush()
    except OSError as error:
        # What could not be written must not be tried again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # the reader has gone, as in `oncue list | head -1`
            place = f": {error.filename}" if error.filename is not None else ""
            sys.stderr.write(f"oncue: {error.strerror or error}{place}\n")
        sys.exit(1)
    except Exception as error:
        from runtime.authoring.errors import OnCueError

        if not isinstance(error, OnCueError):
            raise
        sys.stderr.write(f"oncue: {error}\n")
        sys.exit(getattr(error, "exit_code", 1))


def _open_standard_streams() -> None:
    """Give a closed stream's descriptor to the null device, before a file or a socket takes it."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if descriptor == 0 else "w"))


def _spell_out_wait(words: list[str]) -> list[str]:
    """Give a bare `--wait` its seconds: `invoke NAME --wait width=3` must not take "width=3" for them."""
    spelt: list[str] = []
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        bare = word == "--wait" and not re.fullmatch(r"[0-9.]+", following)
        spelt.append(f"--wait={WAIT_S}" if bare else word)
    return spelt
