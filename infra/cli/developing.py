"""`oncue dev`: everything as in `oncue up`, folders served within a second of each save, and keys to press."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from infra import process
from infra.cli.errors import UsageError
from infra.cli.running import run_everything
from infra.feed import Feed
from infra.keyboard import keyboard
from infra.processes import Program
from infra.rerunning import rerun
from infra.settings import Settings
from infra.supervisor import Keys, Supervisor
from runtime.authoring.errors import OnCueError


def develop(folders: list[Path], **said: Any) -> int:
    """Run until a signal asks to stop; return the exit code.

    `folders`: function folders, or one folder of them; none: the functions folder of the settings.
    """
    functions, only = _served(folders)
    if functions is not None:
        said["functions"] = functions
    deploying = Program("deploy", process.command("watch", *only), grace_s=0)
    with keyboard() as descriptor:
        supervisors: list[Supervisor] = []

        def make(settings: Settings, feed: Feed) -> Supervisor:
            keys = None if descriptor is None else Keys(descriptor, lambda key: _press(key, supervisors[0]))
            supervisors.append(Supervisor(settings, feed, deploying=deploying, keys=keys))
            return supervisors[0]

        hint = "" if descriptor is None else "r runs the last invocation again"
        return run_everything(make, hint=hint, log_level="debug", **said)


def _press(key: str, supervisor: Supervisor) -> None:
    if key == "r":
        # Asking Redis may take its time, and the supervisor must stay prompt.
        threading.Thread(target=_rerun, args=(supervisor.settings, supervisor.feed), daemon=True).start()


def _rerun(settings: Settings, feed: Feed) -> None:
    try:
        feed.line(("↻ ", "cyan"), asyncio.run(rerun(settings)))
    except OnCueError as error:
        feed.line(("! ", "red"), f"the last invocation cannot run again: {error}")


def _served(folders: list[Path]) -> tuple[Path | None, list[str]]:
    """Return the folder of function folders, and the names of those in it that are meant (none: all)."""
    if not folders:
        return None, []
    places = [folder.absolute() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if not place.is_dir():
            raise UsageError(f"{folder} is not a folder")
    if len(places) == 1 and not any(places[0].glob("*.py")):
        return places[0], []
    roots = {place.parent for place in places}
    if len(roots) > 1:
        raise UsageError(f"{folders[0]} and {folders[-1]} lie in different folders; run oncue dev once for each of them")
    return roots.pop(), [place.name for place in places]
