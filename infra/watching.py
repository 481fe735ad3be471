"""Notices that something below the functions folder has changed, by looking at times and sizes only."""

from __future__ import annotations

import os
import time
from pathlib import Path

#: Seconds between two looks.
INTERVAL_S = 0.5

Picture = dict[str, tuple[int, int, int]]


class FolderWatch:
    """Tells when a tree of files differs from what was last handled, once it has come to rest."""

    def __init__(self, folder: Path, *, interval_s: float = INTERVAL_S) -> None:
        self._folder = folder
        self._interval_s = interval_s
        self._last = scan(folder)
        self._handled: Picture | None = self._last
        self._next_look = 0.0

    def has_changed(self) -> bool:
        """Return True once per change, after a look that finds the tree as the look before did. Cheap to call often."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        seen = scan(self._folder)
        # A tree so large that a look takes long is looked at less often: 5 % of a core at most.
        self._next_look = now + max(self._interval_s, 20 * (time.monotonic() - now))
        at_rest, self._last = seen == self._last, seen
        if not at_rest or seen == self._handled:
            return False
        self._handled = seen
        return True

    def look_again(self, in_s: float) -> None:
        """Count the tree as changed after `in_s` seconds: what was done about it has failed."""
        self._handled = None
        self._next_look = time.monotonic() + in_s


def scan(folder: Path) -> Picture:
    """Return time, size and inode of every file below `folder`, of folders the inode; opens none. Hidden ones are left out."""
    found: Picture = {}
    pending = [str(folder)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:  # removed meanwhile
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__pycache__":
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    found[entry.path] = (0, 0, entry.inode())
                    pending.append(entry.path)
                else:
                    stat = entry.stat(follow_symlinks=False)
                    found[entry.path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            except OSError:  # removed meanwhile
                continue
    return found
