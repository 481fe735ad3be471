"""The processes that `oncue up` starts: `python -m infra.process web`, without what the command line imports."""

from __future__ import annotations

import sys

from infra.unused import leave_out


def command(*words: str) -> list[str]:
    """The command line of a process: `command("worker", "0")`."""
    return [sys.executable, "-P", "-m", "infra.process", *words]


def run(kind: str, *words: str) -> None:
    """Be the process `kind` ("web", "worker INDEX", "triggers", "deploy" or "watch FOLDER…") until it ends or is stopped."""
    # Each process imports its own part of the house only.
    from infra import journal
    from infra.settings import Settings

    settings = Settings.load()
    journal.configure(settings.log_level)
    if kind == "web":
        from infra import web

        web.main(settings)
    elif kind == "worker":
        from infra import worker

        worker.main(settings, int(words[0]) if words else 0)
    elif kind == "triggers":
        from infra import triggers

        triggers.main(settings)
    elif kind == "deploy":
        from infra import deploying

        deploying.main(settings)
    elif kind == "watch":
        from infra import deploying

        deploying.watch(settings, words)
    else:
        raise ValueError(f"unknown process {kind!r}; use web, worker, triggers, deploy or watch")


if __name__ == "__main__":
    leave_out("rich")  # structlog would draw tracebacks with it on a terminal, which none of these processes has
    from runtime.authoring.errors import OnCueError

    try:
        run(*sys.argv[1:])
    except OnCueError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(getattr(error, "exit_code", 1))
