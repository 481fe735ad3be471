"""What is deployed, as one immutable picture: every process looks things up here, and swaps it as a whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from runtime.authoring.errors import DeclarationError
from runtime.authoring.manifest import FunctionManifest, Manifest, Problem
from runtime.authoring.triggers import EventTrigger, HttpTrigger


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that gets a share of a folder's new invocations, until it is promoted or rolled back."""

    version: str
    manifest: Manifest
    #: its share, 1 to 99
    percent: int


@dataclass(frozen=True, slots=True)
class Deployed:
    """A folder as it is served: which version, since when, by whom."""

    folder: str
    version: str
    manifest: Manifest
    #: ms since 1970, on the host that deployed
    deployed_ms: int
    who: str = ""
    #: the git commit it was deployed from, and whether the folder differed from it
    commit: str = ""
    dirty: bool = False
    candidate: Candidate | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """One function that can be invoked now, and the version that would run it."""

    folder: str
    version: str
    manifest: FunctionManifest
    #: the version of the folder's candidate, when that has the function too, and its share in percent
    candidate: str | None = None
    percent: int = 0

    @property
    def name(self) -> str:
        return self.manifest.name

    def version_for(self, key: str) -> str:
        """Return the version that runs an invocation: for one key always the same, as long as the shares stay.

        `key` is the idempotency key, or the event's id. A key that the candidate has keeps it when its share grows.
        """
        return self.candidate if self.candidate and self.place_of(key) < self.percent else self.version

    def place_of(self, key: str) -> int:
        """Return where a key stands in the folder's row of a hundred: the candidate has the places below its share."""
        return int.from_bytes(hashlib.sha256(f"{self.folder}\0{key}".encode()).digest()[:4]) % 100


@dataclass(frozen=True)
class Catalog:
    """All that is deployed, and what is quarantined."""

    folders: dict[str, Deployed] = field(default_factory=dict)
    #: folders that could not be deployed as they are on disk; an earlier version may be serving
    problems: tuple[Problem, ...] = ()

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Every function by name, in order of name."""
        found = {
            function.name: _function(deployed, function)
            for deployed in self.folders.values()
            for function in deployed.manifest.functions
        }
        return dict(sorted(found.items()))

    @cached_property
    def routes(self) -> list[tuple[HttpTrigger, Function]]:
        """Every declared route."""
        return [(trigger, f) for f in self.functions.values() for trigger in f.manifest.triggers_of(HttpTrigger)]

    @cached_property
    def subscriptions(self) -> list[tuple[EventTrigger, Function]]:
        """Every subscription to events by name."""
        return [(trigger, f) for f in self.functions.values() for trigger in f.manifest.triggers_of(EventTrigger)]

    def check(self, manifest: Manifest) -> None:
        """Refuse a manifest that clashes with another folder's functions or routes, or with itself.

        Raises:
            DeclarationError: naming both places and the cure.
        """
        names: dict[str, str] = {}
        routes: dict[tuple[str, str], tuple[str, str]] = {}
        others = [d.manifest for d in self.folders.values() if d.folder != manifest.folder]
        for each in (*others, manifest):
            for function in each.functions:
                place = f"{each.folder}/{function.file}:{function.line}"
                at: dict[str, Any] = {"file": function.file, "line": function.line}
                if function.name in names:
                    raise DeclarationError(
                        f"two functions are named {function.name!r}: {names[function.name]} and {place}; rename one", **at
                    )
                names[function.name] = place
                for trigger in function.triggers_of(HttpTrigger):
                    key = (trigger.method, shape(trigger.path))
                    if key in routes:
                        path, other = routes[key]
                        raise DeclarationError(
                            f"two functions declare the route {trigger.method} {path}: {other} and {place}; change one path",
                            **at,
                        )
                    routes[key] = (trigger.path, place)


def _function(deployed: Deployed, function: FunctionManifest) -> Function:
    candidate = deployed.candidate
    if candidate is None or all(each.name != function.name for each in candidate.manifest.functions):
        return Function(deployed.folder, deployed.version, function)
    return Function(deployed.folder, deployed.version, function, candidate.version, candidate.percent)


def shape(path: str) -> str:
    """Return a path with its parameters' names taken out: two paths of one shape take the same requests."""
    return "/".join("{}" if segment.startswith("{") else segment for segment in path.split("/"))
