"""What is served: the catalog as the last deployment told it, and the process that deploys whenever the folder changes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from infra import announcing, process
from infra.feed import Feed
from infra.processes import ChildProcess, Program
from infra.settings import Settings, process_environment
from infra.watching import FolderWatch
from runtime.authoring.exits import exit_words

#: Seconds until a deployment that broke off is tried again.
DEPLOY_AGAIN_S = 5.0
#: A catalog is one line, however many functions it has.
MAX_CATALOG_BYTES = 64 * 2**20


class Serving:
    """Watches the functions folder, and tells on the feed what a deployment has changed."""

    def __init__(self, settings: Settings, feed: Feed, deploying: Program | None) -> None:
        """`deploying`: what deploys the folder and stays to do so again, instead of a process for every change."""
        self.catalog = announcing.EMPTY
        #: the deployment that runs now
        self.process: ChildProcess | None = None
        #: as the running processes have them: with the port and the server that were found
        self.settings = settings
        self._feed = feed
        self._stays = deploying is not None
        self._program = deploying or Program("deploy", process.command("deploy"), grace_s=0)
        self._watch = FolderWatch(settings.functions)

    @property
    def has_begun(self) -> bool:
        """Whether a deployment has told what is served."""
        return self.catalog is not announcing.EMPTY

    @property
    def has_deployed(self) -> bool:
        """Whether the first deployment is over, well or not."""
        return self.process is None or (self._stays and self.has_begun)

    def is_due(self) -> bool:
        """Tell whether the folder has changed since it was last deployed. Cheap to call often."""
        return self.process is None and self._watch.has_changed()

    def deploy(self, launch: Callable[[ChildProcess], None]) -> None:
        """Have a process that deploys the folder launched."""
        child = ChildProcess(self._program, process_environment(self.settings), MAX_CATALOG_BYTES)
        launch(child)
        self.process = child

    def hears(self, child: ChildProcess, line: bytes) -> bool:
        """Take a line of the deployment's that tells the catalog; return False for any other."""
        if child is not self.process or not line.startswith(b'{"kind":"catalog"'):
            return False
        is_first, before, self.catalog = not self.has_begun, self.catalog, msgspec.json.decode(line)
        if not is_first:
            self._tell(before)
        return True

    def announce(self) -> None:
        """Tell everything that is served."""
        self._tell(announcing.EMPTY)
        if self.catalog == announcing.EMPTY | {"kind": "catalog"}:
            where = (
                f" in {self.settings.functions} yet"
                if self.settings.functions.is_dir()
                else f": {self.settings.functions} is no folder yet"
            )
            self._feed.line(f"no functions{where}; make one: oncue new NAME", style="dim")

    def ended(self, code: int, *, is_stopping: bool) -> None:
        """Note that the deployment's process has ended; one that broke off is tried again."""
        self.process = None
        if code and not is_stopping:
            self._feed.line(("! ", "red"), f"the deployment ended ({exit_words(code)}); what was served goes on")
            self._watch.look_again(DEPLOY_AGAIN_S)

    def _tell(self, before: announcing.Catalog) -> None:
        for words in announcing.changes(before, self.catalog, self.settings):
            self._feed.line(*words)
