import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.watching import FolderWatch, scan


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the next look due."""
    now = [0.0]
    monkeypatch.setattr("infra.watching.time.monotonic", lambda: now[0])

    def later() -> None:
        now[0] += 1.0

    return later


def looks(watch: FolderWatch, clock: Callable[[], None], count: int = 3) -> list[bool]:
    seen = []
    for _ in range(count):
        clock()
        seen.append(watch.has_changed())
    return seen


def test_a_folder_at_rest(tmp_path: Path, clock: Callable[[], None]) -> None:
    """Nothing is told of it."""
    (tmp_path / "a.py").write_text("1")
    assert looks(FolderWatch(tmp_path), clock) == [False, False, False]


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "f" / "new.py").write_text("1"),
        lambda root: (root / "f" / "a.py").write_text("longer"),
        lambda root: (root / "f" / "a.py").unlink(),
        lambda root: (root / "f").rename(root / "g"),
        lambda root: os.utime(root / "f" / "a.py", (1, 1)),
    ],
    ids=["added", "written", "removed", "renamed", "touched"],
)
def test_a_change(tmp_path: Path, clock: Callable[[], None], change: Callable[[Path], object]) -> None:
    """It is told once, at the look after it came to rest."""
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a.py").write_text("1")
    watch = FolderWatch(tmp_path)
    change(tmp_path)
    assert looks(watch, clock, 4) == [False, True, False, False]


def test_a_change_that_goes_on(tmp_path: Path, clock: Callable[[], None]) -> None:
    """A tree that is still being written is left alone until two looks agree."""
    watch = FolderWatch(tmp_path)
    seen = []
    for number in range(3):
        (tmp_path / f"{number}.py").write_text("1")
        seen += looks(watch, clock, 1)
    assert seen == [False, False, False]
    assert looks(watch, clock, 2) == [True, False]


def test_a_change_that_could_not_be_handled(tmp_path: Path, clock: Callable[[], None]) -> None:
    """It is told again once the pause is over."""
    watch = FolderWatch(tmp_path)
    watch.look_again(2.5)
    assert looks(watch, clock, 4) == [False, False, True, False]


def test_what_is_not_looked_at(tmp_path: Path) -> None:
    """Hidden folders and compiled files do not count; a folder that is missing is empty."""
    for name in (".git", "__pycache__", ".venv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("1")
    assert scan(tmp_path) == {}
    assert scan(tmp_path / "missing") == {}
