"""The pointers of `oncue:folders`, written and read: what each folder serves, and what is wrong with it.

thumbnail    {"version": "5c1…", "deployed_ms": 1760000000000, "who": "ada@desk", "commit": "9f2c…", "dirty": false,
              "candidate": {"version": "8d0…", "percent": 10}}
!thumbnail   {"folder": "thumbnail", "file": "__init__.py", "line": 3, "reason": "…"}
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from runtime.authoring.manifest import Manifest, Problem
from runtime.versions.catalog import Candidate, Catalog, Deployed

_PROBLEM = "!"


def problem_field(folder: str) -> str:
    """Return the field that says what is wrong with a folder."""
    return _PROBLEM + folder


def write_pointer(deployed: Deployed) -> bytes:
    """Return what the folder's field says of what it serves."""
    pointer: dict[str, Any] = {name: getattr(deployed, name) for name in ("version", "deployed_ms", "who", "commit", "dirty")}
    if deployed.candidate is not None:
        pointer["candidate"] = {"version": deployed.candidate.version, "percent": deployed.candidate.percent}
    return msgspec.json.encode(pointer)


def read_catalog(pointers: dict[str, str], manifest: Callable[[str], Manifest]) -> Catalog:
    """Return what all fields say; `manifest` raises KeyError for a version that has none."""
    folders: dict[str, Deployed] = {}
    problems: list[Problem] = []
    for name, document in sorted(pointers.items()):
        if name.startswith(_PROBLEM):
            problems.append(Problem.model_validate_json(document))
            continue
        pointer = msgspec.json.decode(document)
        try:
            folders[name] = _deployed(name, pointer, manifest)
        except KeyError:
            structlog.get_logger("oncue.registry").warning(
                "a folder's version has no manifest; deploy the folder again", folder=name, version=pointer["version"]
            )
    return Catalog(folders, tuple(problems))


def live_versions(deployed: Deployed) -> list[str]:
    """Return the versions that take new invocations of a folder: what it serves, and its candidate."""
    return [deployed.version, *([deployed.candidate.version] if deployed.candidate else [])]


def _deployed(folder: str, pointer: dict[str, Any], manifest: Callable[[str], Manifest]) -> Deployed:
    candidate: Candidate | None = None
    with contextlib.suppress(KeyError):  # without a manifest there is no candidate; the version itself goes on serving
        wanted = pointer.get("candidate")
        candidate = wanted and Candidate(wanted["version"], manifest(wanted["version"]), wanted["percent"])
    version, more = pointer["version"], (pointer.get("commit", ""), pointer.get("dirty", False))
    return Deployed(folder, version, manifest(version), pointer["deployed_ms"], pointer["who"], *more, candidate)
