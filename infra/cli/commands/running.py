"""`oncue up` and `dev`, and the processes they run, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.commands.options import Data, Functions, Port, Workers


def up(port: Port = None, data: Data = None, functions: Functions = None, workers: Workers = None) -> None:
    """Run everything on this machine, and serve the functions folder. Ctrl-C stops."""
    from infra.cli.running import run_everything

    raise typer.Exit(run_everything(port=port, data=data, functions=functions, workers=workers))


def dev(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR...]", help="Function folders, or a folder of them (ONCUE_FUNCTIONS)")
    ] = None,
    port: Port = None,
    data: Data = None,
    workers: Workers = None,
) -> None:
    """Like up, for working on functions: every save is served within a second, and every log line is shown."""
    from infra.cli.developing import develop

    raise typer.Exit(develop(folders or [], port=port, data=data, workers=workers))


def web() -> None:
    """Run the web process alone."""
    from infra.process import run

    run("web")


def worker(index: Annotated[int, typer.Option(help="Tells the workers of one machine apart")] = 0) -> None:
    """Run one worker process alone."""
    from infra.process import run

    run("worker", str(index))


def triggers() -> None:
    """Run the triggers process alone: schedules and queue sources. Safe to run twice."""
    from infra.process import run

    run("triggers")
