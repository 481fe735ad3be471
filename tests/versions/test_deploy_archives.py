"""Archives from strangers: each hostile one is refused with 400 and the entry's name, and leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import re
import select
import socket
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from runtime.authoring.errors import DeclarationError
from runtime.versions.archive import MAX_ENTRIES, read_archive, write_archive
from runtime.versions.pack import Pack, pack
from tests.running import OnCue, start
from tests.versions.deploying import greeting
from triggers.http.deployments import MAX_ARCHIVE_BYTES

Build = Callable[[zipfile.ZipFile], None]

#: How much larger a refused archive may make the web process at any moment, bytes.
FLAT_BYTES = 16 * 2**20


def archive(build: Build) -> bytes:
    """A zip that `build` fills, beside a handler that could be deployed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("__init__.py", greeting("hostile"))
        build(file)
    return buffer.getvalue()


def entry(name: str, kind: int = stat.S_IFREG, content: bytes = b"x", extra: bytes = b"") -> Build:
    def build(file: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = (kind | 0o644) << 16
        info.extra = extra
        file.writestr(info, content)

    return build


def pair(*names: str) -> Build:
    def build(file: zipfile.ZipFile) -> None:
        for name in names:
            file.writestr(name, "x")

    return build


def zeros(file: zipfile.ZipFile) -> None:
    with file.open("zeros.bin", "w", force_zip64=False) as target:
        for _ in range(50):
            target.write(bytes(2**20))


def many_zeros(file: zipfile.ZipFile) -> None:
    for n in range(50):
        file.writestr(f"z{n:02}.bin", bytes(2**20))


def raw_name(name: bytes) -> bytes:
    """An archive with a name that `zipfile` would not write."""
    placeholder = b"N" * len(name)
    return archive(pair(placeholder.decode())).replace(placeholder, name)


def declares(size: int) -> bytes:
    """An archive whose directory says that `big.bin` unpacks to `size` bytes."""
    data = bytearray(archive(pair("big.bin")))
    header = data.rfind(b"PK\x01\x02")
    assert data[header + 46 : header + 53] == b"big.bin"
    struct.pack_into("<L", data, header + 24, size)
    return bytes(data)


def overlapping() -> bytes:
    """Ten thousand entries that share the bytes of one: 10,000 to 1, and more."""
    kernel = archive(lambda file: file.writestr("kernel.bin", bytes(2**20)))
    end = kernel.rfind(b"PK\x05\x06")
    start = struct.unpack_from("<L", kernel, end + 16)[0]
    header = kernel.rfind(b"PK\x01\x02", 0, end)
    entries = b"".join(kernel[header:end].replace(b"kernel.bin", b"k%09d" % n) for n in range(9_000))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9_000, 9_000, len(entries), start, 0)
    return kernel[:start] + entries + tail


def many(file: zipfile.ZipFile) -> None:
    for n in range(100_000):
        file.writestr(zipfile.ZipInfo(f"d/{n:06}"), b"")


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "dot dot": (lambda: archive(entry("../../escaped.py")), "'../../escaped.py' is a path that leads elsewhere"),
    "dot dot inside": (lambda: archive(entry("a/../../escaped.py")), "'a/../../escaped.py' is a path that leads elsewhere"),
    "absolute": (lambda: archive(entry("/etc/escaped.py")), "'/etc/escaped.py' is an absolute path"),
    "drive": (lambda: archive(entry("C:/escaped.py")), "'C:/escaped.py' is an absolute path"),
    "backslash": (lambda: archive(entry("..\\escaped.py")), "has a backslash"),
    "symbolic link": (lambda: archive(entry("link", stat.S_IFLNK, b"/etc/passwd")), "'link' is a symbolic link"),
    "hard link": (
        lambda: archive(entry("hard", extra=struct.pack("<HH12s6s", 0x000D, 18, b"", b"target"))),
        "'hard' is a link to another file",
    ),
    "character device": (lambda: archive(entry("null", stat.S_IFCHR)), "'null' is no plain file"),
    "block device": (lambda: archive(entry("disk", stat.S_IFBLK)), "'disk' is no plain file"),
    "pipe": (lambda: archive(entry("pipe", stat.S_IFIFO)), "'pipe' is no plain file"),
    "case collision": (lambda: archive(pair("Data.txt", "data.TXT")), "'data.TXT' is the same as 'Data.txt'"),
    "collision of forms": (lambda: archive(pair("caf\u00e9", "cafe\u0301")), "is the same as"),
    "collision of folders": (lambda: archive(pair("Data/a", "data/b")), "'data/b' clashes with 'Data'"),
    "twice": (lambda: archive(_twice), "'one.txt' is the same as 'one.txt'"),
    "file as folder": (lambda: archive(pair("a", "a/b")), "'a/b' lies below 'a', which is a file"),
    "zeros": (lambda: archive(zeros), "'zeros.bin' unpacks to 52,428,800 bytes from"),
    "many zeros": (lambda: archive(many_zeros), "'z00.bin' and the others unpack to 52,428,"),
    "overlapping": (overlapping, "brings the archive above 100 MiB"),
    "a gigabyte": (lambda: declares(10**9), "'big.bin' brings the archive above 100 MiB (1,000,000,000 bytes alone)"),
    "a wrong size": (lambda: declares(50), "'big.bin' has 1 bytes, and not the 50 that the archive declares"),
    "100,000 entries": (lambda: archive(many), "is one entry too many; an archive holds at most 10,000"),
    "control characters": (lambda: archive(entry("a\x1b[2Jb")), "'a\\x1b[2Jb' is a name with control characters"),
    "a line feed": (lambda: archive(entry("a\nb")), "is a name with control characters"),
    "no UTF-8": (lambda: raw_name(b"caf\xe9\xff"), "'caf\\xe9\\xff' is no UTF-8 name"),
    "a nul": (lambda: raw_name(b"ab\0cd"), "is a name with control characters"),
    "too long a name": (lambda: archive(entry("n" * 300)), "is too long a name"),
    "encrypted": (lambda: _flagged(0x1), "is encrypted"),
    "odd compression": (lambda: _lzma(), "is compressed in a way that is not taken"),
    "no zip": (lambda: b"PK\x03\x04 and then nothing of the kind", "this is no zip archive"),
    "empty": (lambda: b"", "this is no zip archive"),
    "cut off": (lambda: archive(pair("a"))[:-30], "this is no zip archive"),
    "a directory elsewhere": (lambda: b"more in front" + archive(pair("a")), "directory is not where its end says"),
}


def _twice(file: zipfile.ZipFile) -> None:
    file.writestr("one.txt", "1")
    info = zipfile.ZipInfo("one.txt")
    with pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr(info, "2")


def _flagged(flag: int) -> bytes:
    data = bytearray(archive(pair("secret")))
    header = data.rfind(b"PK\x01\x02")
    data[header + 8] |= flag
    return bytes(data)


def _lzma() -> bytes:
    return archive(lambda file: file.writestr("packed", bytes(100), zipfile.ZIP_LZMA))


@pytest.fixture(scope="module")
def oncue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCue]:
    """A running OnCue without folders."""
    folder = tmp_path_factory.mktemp("archives")
    (folder / "functions").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    oncue = start({**kept, "ONCUE_PORT": "0"}, folder)
    yield oncue
    assert oncue.up.stop() == 0


class Memory:
    """The memory of the web process: what it has now, and the most that it has had from now on."""

    def __init__(self, oncue: OnCue) -> None:
        webs = (each for each in map(psutil.Process, oncue.up.descendants()) if each.cmdline()[-1:] == ["web"])
        self._proc = Path("/proc", str(next(webs).pid))
        (self._proc / "clear_refs").write_text("5")  # the peak begins anew (proc(5))
        self._before = self._peak()

    def _peak(self) -> int:
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", (self._proc / "status").read_text(), re.MULTILINE)
        assert peak
        return int(peak[1]) * 1024

    def growth(self) -> int:
        """Bytes that the process has been larger by, at its peak."""
        return self._peak() - self._before


def written(oncue: OnCue) -> set[Path]:
    """What is on disk below OnCue's folder, but for the server's own files."""
    return {path for path in oncue.folder.rglob("*") if "redis" not in path.parts}


def send(oncue: OnCue, body: bytes, **query: str) -> httpx.Response:
    headers = {"Content-Type": "application/zip"}
    return httpx.post(
        f"{oncue.url}/v1/deployments", content=body, params={"folder": "hello", **query}, headers=headers, timeout=30
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused(oncue: OnCue, name: str) -> None:
    """400 with the entry's name, nothing written, memory flat."""
    build, message = HOSTILE[name]
    body = build()
    before, memory = written(oncue), Memory(oncue)
    answer = send(oncue, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-archive"), answer.text
    assert message in answer.json()["detail"]
    assert written(oncue) == before
    assert memory.growth() < FLAT_BYTES
    assert httpx.get(f"{oncue.url}/v1/deployments").json() == {"deployments": [], "quarantined": []}


def test_an_archive_that_is_too_large_is_cut_off(oncue: OnCue) -> None:
    """413 by what it announces, before any of it has come."""
    address = (httpx.URL(oncue.url).host, httpx.URL(oncue.url).port)
    with socket.create_connection(address, timeout=10) as connection:
        head = "POST /v1/deployments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/zip\r\n"
        connection.sendall(f"{head}Content-Length: {2**40}\r\n\r\n".encode())
        assert b" 413 " in connection.recv(100)


def test_an_archive_that_tells_no_size_is_cut_off(oncue: OnCue) -> None:
    """413 as soon as more has come than an archive may have; what came is kept neither in memory nor on disk."""
    before, memory = written(oncue), Memory(oncue)
    piece, sent = bytes(2**20), 0
    address = (httpx.URL(oncue.url).host, httpx.URL(oncue.url).port)
    with socket.create_connection(address, timeout=30) as connection:
        head = "POST /v1/deployments?folder=hello HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/zip\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        while sent < 4 * MAX_ARCHIVE_BYTES and not select.select([connection], [], [], 0)[0]:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            sent += len(piece)
        answer = connection.recv(4096)
    assert b" 413 " in answer
    assert MAX_ARCHIVE_BYTES <= sent < 2 * MAX_ARCHIVE_BYTES
    assert written(oncue) == before
    assert memory.growth() < FLAT_BYTES


def test_a_host_that_cannot_keep_a_version(oncue: OnCue) -> None:
    """A full or broken disk is told as what it is, and not put on Redis; a stream of steps ends with it, too."""
    body = archive(lambda _: None)
    versions = oncue.folder / ".data" / "versions"
    versions.write_text("in the way")
    refused = send(oncue, body)
    assert (refused.status_code, refused.json()["code"]) == (500, "host-failed")
    assert "Not a directory" in refused.json()["detail"]
    headers = {"Content-Type": "application/zip", "Accept": "application/x-ndjson"}
    stream = httpx.post(f"{oncue.url}/v1/deployments?folder=hello", content=body, headers=headers, timeout=30)
    assert json.loads(stream.text.splitlines()[-1])["problem"]["code"] == "host-failed"
    versions.unlink()
    assert send(oncue, body, plan="1").status_code == 200


def test_what_is_no_archive_is_refused(oncue: OnCue) -> None:
    """415, and 400 for queries that mean nothing."""
    answer = httpx.post(f"{oncue.url}/v1/deployments", json={})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")
    assert send(oncue, b"", percent="none").json()["code"] == "invalid-query"
    assert send(oncue, b"", colour="red").json()["code"] == "invalid-query"


def test_an_archive_means_the_same_as_the_folder(tmp_path: Path) -> None:
    """The version is the same, whoever made the zip: with folders as entries, hidden files and tests."""
    folder = tmp_path / "hello"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("a = 1")
    (folder / "data" / "w\u00f6rter.txt").write_text("x")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_it.py").write_text("x")
    (folder / ".env").write_text("x")
    packed = pack(folder)
    assert read_archive(io.BytesIO(write_archive(packed)), "hello") == packed
    assert write_archive(packed) == write_archive(packed)
    whole, inner = io.BytesIO(), io.BytesIO()
    for buffer, root in ((whole, tmp_path), (inner, folder)):
        with zipfile.ZipFile(buffer, "w") as file:
            for path in sorted(folder.rglob("*"), reverse=True):
                file.write(path, path.relative_to(root))
    assert read_archive(inner, "hello") == packed
    assert read_archive(whole) == packed
    with pytest.raises(DeclarationError, match="does not hold one folder alone"):
        read_archive(inner)


def test_an_archive_at_its_bounds_is_taken() -> None:
    """As many entries as may be, most of which make no file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("__init__.py", "")
        for n in range(MAX_ENTRIES - 1):
            file.writestr(f"tests/{n}", b"")
    assert read_archive(buffer, "hello") == Pack("hello", (("__init__.py", b""),))
