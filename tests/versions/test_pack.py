"""A folder's content names its version: by paths and bytes alone, within bounds."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import DeclarationError
from runtime.versions import pack as packing
from runtime.versions.pack import Pack, pack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "__init__.py").write_text("a = 1\n")
    (folder / "data").mkdir()
    (folder / "data" / "words.txt").write_bytes(b"\x00\xff")
    return folder


def test_a_pack_holds_all_files_in_order(folder: Path) -> None:
    """Relative POSIX paths and bytes."""
    assert pack(folder).files == (("__init__.py", b"a = 1\n"), ("data/words.txt", b"\x00\xff"))


def test_the_version_depends_on_content_alone(folder: Path, tmp_path: Path) -> None:
    """Not on times, order of creation, modes or the place; but on every byte, path and the name."""
    version = pack(folder).version
    assert len(version) == 20
    os.utime(folder / "__init__.py", (1, 1))
    (folder / "__init__.py").chmod(0o600)
    assert pack(folder).version == version
    elsewhere = tmp_path / "elsewhere" / "sample"
    (elsewhere / "data").mkdir(parents=True)
    (elsewhere / "data" / "words.txt").write_bytes(b"\x00\xff")
    (elsewhere / "__init__.py").write_text("a = 1\n")
    assert pack(elsewhere).version == version
    (elsewhere / "data" / "words.txt").write_bytes(b"\x00\xfe")
    assert pack(elsewhere).version != version
    (elsewhere / "data" / "words.txt").rename(elsewhere / "data" / "other.txt")
    other = pack(elsewhere).version
    assert other != version
    assert pack(elsewhere.rename(tmp_path / "renamed")).version != other


def test_tests_caches_and_hidden_files_make_no_version(folder: Path) -> None:
    """What does not run is not deployed."""
    version = pack(folder).version
    for name in ("tests", "__pycache__", "node_modules", ".git", "data/tests"):
        (folder / name).mkdir()
        (folder / name / "file.py").write_text("x")
        (folder / name / "link").symlink_to("/etc/passwd")
    for name in (".env", "old.pyc", "data/older.pyo"):
        (folder / name).write_text("x")
    assert pack(folder).version == version


def entry_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def entry_folder_link(path: Path) -> None:
    path.symlink_to("/etc")


def entry_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def entry_fifo(path: Path) -> None:
    os.mkfifo(path)


def entry_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(before)


def entry_device(path: Path) -> None:
    try:
        os.mknod(path, 0o20600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root can make a device file")


@pytest.mark.parametrize("make", [entry_link, entry_folder_link, entry_dangling_link, entry_fifo, entry_socket, entry_device])
def test_what_is_no_plain_file_is_refused(folder: Path, make) -> None:
    """The entry is named; it is neither followed nor opened, and so cannot block."""
    make(folder / "data" / "odd")
    with pytest.raises(
        DeclarationError, match=r"'data/odd' is .*; a folder holds plain files only: put a copy there"
    ) as caught:
        pack(folder)
    assert caught.value.file == "data/odd"


def test_a_name_that_is_no_text_is_refused(folder: Path) -> None:
    """A file name must be UTF-8, so that it means the same everywhere."""
    (folder / os.fsdecode(b"b\xff.txt")).write_text("x")
    with pytest.raises(DeclarationError, match=r"is no UTF-8 file name, or holds control characters; rename it"):
        pack(folder)


def test_too_much_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by size, before it is read."""
    monkeypatch.setattr(packing, "MAX_FILES", 1)
    with pytest.raises(DeclarationError, match="sample/ holds more than 1 files"):
        pack(folder)
    monkeypatch.setattr(packing, "MAX_FILES", 5)
    with (folder / "huge").open("wb") as file:
        file.truncate(packing.MAX_BYTES + 1)  # a hole: it takes no disk
    with pytest.raises(DeclarationError, match="100 MiB; leave data out of it"):
        pack(folder)


def test_unpacking_gives_the_same_version(folder: Path, tmp_path: Path) -> None:
    """It appears as a whole, and a second time changes nothing."""
    packed = pack(folder)
    target = tmp_path / "versions" / "sample"
    packed.unpack(target)
    packed.unpack(target)
    assert pack(target) == packed
    assert [path.name for path in target.parent.iterdir()] == ["sample"]


def test_what_cannot_be_unpacked_leaves_nothing(tmp_path: Path) -> None:
    """On a full disk, say, half of a version would be what fills it."""
    packed = Pack("sample", (("a", b"a file"), ("a/b", b"and a folder")))
    with pytest.raises(FileExistsError):
        packed.unpack(tmp_path / "versions" / "sample")
    assert list((tmp_path / "versions").iterdir()) == []


def test_an_empty_folder_can_be_packed(tmp_path: Path) -> None:
    """It has a version; that it declares nothing is told by the inspection."""
    (tmp_path / "empty").mkdir()
    packed = pack(tmp_path / "empty")
    assert packed.files == ()
    packed.unpack(tmp_path / "target")
    assert (tmp_path / "target").is_dir()


paths = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8), min_size=1, max_size=3)
contents = st.dictionaries(paths.map("/".join), st.binary(max_size=20), max_size=4).map(
    lambda files: tuple(sorted(files.items()))
)


@given(contents, contents)
def test_different_contents_have_different_versions(one: tuple, other: tuple) -> None:
    """No two lists of files run into each other in the digest."""
    assert (Pack("f", one).version == Pack("f", other).version) == (one == other)
