"""Folders of handlers, written and inspected in a throwaway process."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.authoring.inspection import inspect
from runtime.authoring.manifest import FunctionManifest, Manifest, Problem


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write(code, name="sample", **files)` makes a folder; `code` is its `__init__.py` (None: it has none)."""

    def make(code: str | None, name: str = "sample", **files: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        if code is not None:
            (folder / "__init__.py").write_text(textwrap.dedent(code))
        for stem, content in files.items():
            (folder / f"{stem}.py").write_text(textwrap.dedent(content))
        return folder

    return make


@pytest.fixture
def manifest(write: Callable[..., Path]) -> Callable[..., Manifest]:
    """Write a folder and return its manifest."""

    def make(code: str | None, name: str = "sample", **files: str) -> Manifest:
        found = inspect(write(code, name, **files))
        assert isinstance(found, Manifest), found
        return found

    return make


@pytest.fixture
def function(manifest: Callable[..., Manifest]) -> Callable[..., FunctionManifest]:
    """Write a folder of one function and return that function's manifest."""

    def make(code: str) -> FunctionManifest:
        (only,) = manifest(code).functions
        return only

    return make


@pytest.fixture
def problem(write: Callable[..., Path]) -> Callable[..., Problem]:
    """Write a folder and return the problem that keeps it from serving."""

    def make(code: str | None, name: str = "sample", **files: str) -> Problem:
        found = inspect(write(code, name, **files))
        assert isinstance(found, Problem), found
        return found

    return make
