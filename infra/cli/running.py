"""`oncue up`: the settings, the terminal and the supervisor put together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from rich.console import Console

from infra.feed import Feed
from infra.settings import Settings, unknown_names
from infra.supervisor import Supervisor


def run_everything(make: Callable[[Settings, Feed], Supervisor] = Supervisor, *, hint: str = "", **said: Any) -> int:
    """Run until a signal asks to stop; return the exit code.

    `make` puts the supervisor together, `hint` is shown once it serves; `said`: settings from the command line.
    """
    settings = Settings.load(**said)
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 1000)
    feed = Feed(console)
    supervisor = make(settings, feed)

    def serving() -> None:
        now = supervisor.settings
        server = "its embedded server" if supervisor.server is not None else "the Redis of ONCUE_REDIS_URL"
        feed.line(("OnCue ", "bold"), version("oncue"), " serves at ", (now.base_url, "bold cyan"), f" on {server}")
        feed.line((f"functions in {now.functions}, data in {now.data}; {hint}{'; ' if hint else ''}Ctrl-C stops", "dim"))
        for name in unknown_names():
            feed.line(("! ", "yellow"), f"{name} is no setting, and does nothing")

    try:
        return supervisor.run(serving)
    finally:
        feed.close()
