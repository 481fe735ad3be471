"""What was done to a folder: an entry for each deploy, rollback, promotion and removal, newest first, capped.

{"action": "deploy", "version": "5c1…", "at_ms": 1760000000000, "who": "ada@desk", "commit": "9f2c…", "dirty": false, "percent": 10}
"""

from __future__ import annotations

from typing import Literal

import msgspec

#: Entries kept of each folder.
MAX_ENTRIES = 200

Action = Literal["deploy", "rollback", "promote", "abandon", "undeploy"]


class Origin(msgspec.Struct, frozen=True):
    """Who asks for a change, and where the folder comes from."""

    who: str = ""
    #: the git commit of the folder, and whether the folder differs from it
    commit: str = ""
    dirty: bool = False


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing done to a folder."""

    action: Action
    version: str
    #: ms since 1970, by the clock of Redis
    at_ms: int
    who: str = ""
    commit: str = ""
    dirty: bool = False
    #: the share of a candidate; 0: all
    percent: int = 0

    @property
    def went_live(self) -> bool:
        """Whether it made the version serve everything."""
        return self.action in ("deploy", "rollback", "promote") and not self.percent


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Entry).decode
