"""The command `oncue`. Exit codes: 0 done, 1 failed, 2 used wrongly (or refused with a 4xx), 3 not done in time."""

from __future__ import annotations

import os
import re
import sys

#: Seconds that a bare `--wait` waits.
WAIT_S = "60"


def main() -> None:
    """Run the command line, and turn OnCue's own errors into one sentence and an exit code."""
    # Each command imports what it needs when it runs: `oncue --help` is asked often and must come at once.
    from infra.cli.app import app

    try:
        app(args=_spell_out_wait(sys.argv[1:]), prog_name="oncue")
    except BrokenPipeError:
        # The reader has gone, as in `oncue list | head -1`; nothing is left to be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        from runtime.authoring.errors import OnCueError

        if not isinstance(error, OnCueError):
            raise
        sys.stderr.write(f"oncue: {error}\n")
        sys.exit(getattr(error, "exit_code", 1))


def _spell_out_wait(words: list[str]) -> list[str]:
    """Give a bare `--wait` its seconds: `invoke NAME --wait width=3` must not take "width=3" for them."""
    spelt: list[str] = []
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        bare = word == "--wait" and not re.fullmatch(r"[0-9.]+", following)
        spelt.append(f"--wait={WAIT_S}" if bare else word)
    return spelt
