"""What a folder needs besides the authoring API: read from its requirements.txt, or from its pyproject.toml.

A folder whose every requirement is met by what is installed beside OnCue runs in OnCue's own interpreter, which needs no
installer and no network. Any other runs in an environment of its own (environments.py).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from runtime.authoring.errors import DeclarationError

_FILES = ("requirements.txt", "pyproject.toml")
_SOURCES = ("-i ", "-f ", "--index-url", "--extra-index-url", "--find-links", "--no-index")


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a folder's file asks for."""

    #: "requirements.txt" or "pyproject.toml"
    file: str
    #: one requirement each, as written; empty strings and comments are left out
    lines: tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The options among the lines that say where packages come from, as the installer reads them."""
        return tuple(line for line in self.lines if line.startswith(_SOURCES))

    def are_met_here(self) -> bool:
        """Tell whether this process's own interpreter has all of it. Anything but plain requirements counts as not met."""
        for line in self.lines:
            try:
                wanted = Requirement(line)
            except InvalidRequirement:
                return False
            if wanted.marker is not None and not wanted.marker.evaluate():
                continue
            if wanted.url or wanted.extras:
                return False
            try:
                has = metadata.version(canonicalize_name(wanted.name))
            except metadata.PackageNotFoundError:
                return False
            if not wanted.specifier.contains(has, prereleases=True):
                return False
        return True


def read_requirements(folder: Path) -> Requirements | None:
    """Return what a folder asks for; None when it asks for nothing.

    Raises:
        DeclarationError: its pyproject.toml is none.
    """
    for name in _FILES:
        try:
            text = (folder / name).read_text(errors="replace")
        except (FileNotFoundError, IsADirectoryError):
            continue
        lines = _plain(text) if name == "requirements.txt" else _declared(text)
        return Requirements(name, lines) if lines else None
    return None


def _plain(text: str) -> tuple[str, ...]:
    joined = text.replace("\\\n", " ").splitlines()
    # A comment begins a line or follows a space; a "#" inside a URL is part of it (pip, "Requirements File Format").
    stripped = (line.split(" #", 1)[0].strip() for line in joined)
    return tuple(line for line in stripped if line and not line.startswith("#"))


def _declared(text: str) -> tuple[str, ...]:
    try:
        wanted = tomllib.loads(text).get("project", {}).get("dependencies", [])
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(f"it is no TOML: {error}", file="pyproject.toml") from error
    if not isinstance(wanted, list) or not all(isinstance(line, str) for line in wanted):
        raise DeclarationError("project.dependencies must be a list of strings", file="pyproject.toml")
    return tuple(wanted)
