"""The processes that `oncue up` starts: `python -m infra.process web`, without what the command line imports."""

from __future__ import annotations

import sys

from infra.settings import Settings
from runtime.authoring.errors import OnCueError


def command(*words: str) -> list[str]:
    """The command line of a process: `command("worker", "0")`."""
    return [sys.executable, "-P", "-m", "infra.process", *words]


def run(kind: str, index: int = 0) -> None:
    """Be the process `kind` ("web", "worker" or "deploy") until it ends or is stopped by SIGTERM."""
    settings = Settings.load()
    # Each process imports its own part of the house only.
    if kind == "web":
        from infra import web

        web.main(settings)
    elif kind == "worker":
        from infra import worker

        worker.main(settings, index)
    elif kind == "deploy":
        from infra import deploying

        deploying.main(settings)
    else:
        raise ValueError(f"unknown process {kind!r}; use web, worker or deploy")


if __name__ == "__main__":
    try:
        run(sys.argv[1], *map(int, sys.argv[2:]))
    except OnCueError as error:
        sys.exit(str(error))
