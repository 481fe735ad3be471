"""Archives: a pack as a zip, and a stranger's zip as a pack, or a refusal that names the entry.

Nothing is written to disk, and nothing is decompressed before every entry of the archive has been looked at: what an
archive says of itself is bounded first (entries, sizes, ratios), and then held to it.
"""

from __future__ import annotations

import io
import stat
import struct
import unicodedata
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO

from runtime.authoring.errors import DeclarationError
from runtime.versions.pack import MAX_BYTES, MAX_FILES, Pack, is_left_out

#: Entries of an archive: files, folders, and what is left out of a version.
MAX_ENTRIES = 2 * MAX_FILES
#: Above this many bytes an entry, or all of them, may not unpack to more than `MAX_RATIO` times their size in the archive.
RATIO_FROM_BYTES = 2**20
MAX_RATIO = 200
MAX_NAME_BYTES = 1024

# APPNOTE.TXT 4.3.12, 4.3.16, 4.3.15, 4.5.7
_ENTRY, _ENTRY_SIGNATURE = struct.Struct("<4s24x3H12x"), b"PK\x01\x02"
_END, _END_SIGNATURE = struct.Struct("<4s4H2LH"), b"PK\x05\x06"
_ZIP64_LOCATOR_BYTES, _ZIP64_SIGNATURE = 20, b"PK\x06\x07"
_UNIX_EXTRA, _UNIX_EXTRA_BYTES = 0x000D, 12
_IS_UTF8 = 0x800
_IS_ENCRYPTED = 0x1


def write_archive(packed: Pack) -> bytes:
    """Return a zip of a pack: the same bytes for the same content, wherever the same zlib is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path, content in packed.files:
            info = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def read_archive(file: IO[bytes], folder: str | None = None, *, is_own: bool = False) -> Pack:
    """Return what an archive holds, as `pack` would have read it from a disk. `file` must be seekable.

    Without `folder` the archive holds one folder, which gives the name; or it holds the content of `folder`. `is_own`:
    `write_archive` made it, of a folder that may hold what no stranger's archive may: the digest tells whether it did.

    Raises:
        DeclarationError: it is no zip, or an entry is refused; the message and `file` name the entry.
    """
    _check_directory(file)
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            names = [info.filename for info in infos] if is_own else _checked(infos)
            root = "" if folder else f"{_one_folder(names)}/"
            files: list[tuple[str, bytes]] = []
            for info, name in zip(infos, names, strict=True):
                relative = name.removeprefix(root)
                if relative and not name.endswith("/") and not is_left_out(relative):
                    files.append((relative, _content(archive, info, name)))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise DeclarationError(f"the archive is no zip that can be read ({error}); make it anew") from error
    if len(files) > MAX_FILES:
        raise _refused(files[MAX_FILES][0], f"is one file too many; a folder holds at most {MAX_FILES:,}")
    return Pack(folder or root[:-1], tuple(sorted(files)))


def _check_directory(file: IO[bytes]) -> None:
    """Walk the central directory without keeping it: `zipfile` would build an object for each of a million entries."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END.size - 0xFFFF))
    tail = file.read()
    position = len(tail) - _END.size
    if tail[position : position + 4] != _END_SIGNATURE or tail[-2:] != b"\0\0":
        position = tail.rfind(_END_SIGNATURE)
    if position < 0 or position + _END.size > len(tail):
        raise DeclarationError("this is no zip archive; send the folder as one")
    *_, length, start, _ = _END.unpack_from(tail, position)
    end = size - len(tail) + position
    file.seek(min(start, size))
    walked = count = 0
    while len(header := file.read(_ENTRY.size)) == _ENTRY.size and header.startswith(_ENTRY_SIGNATURE):
        _, *lengths = _ENTRY.unpack(header)
        name = file.read(lengths[0])
        file.seek(lengths[1] + lengths[2], io.SEEK_CUR)
        walked += _ENTRY.size + sum(lengths)
        count += 1
        if count > MAX_ENTRIES:
            raise _refused(ascii(name)[2:-1], f"is one entry too many; an archive holds at most {MAX_ENTRIES:,}")
    locator = position - _ZIP64_LOCATOR_BYTES
    if locator >= 0 and tail[locator : locator + 4] == _ZIP64_SIGNATURE:
        raise DeclarationError("the archive is a zip64, which a folder of this size does not need; make a plain zip")
    if walked != length or start + length != end:
        raise DeclarationError("the archive's directory is not where its end says, or not as long; make it anew")


def _checked(infos: list[zipfile.ZipInfo]) -> list[str]:
    """Return the entries' names, once every entry has been found harmless."""
    names: list[str] = []
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    total = 0
    for info in infos:
        name = _name(info)
        _check_kind(info, name)
        total += info.file_size
        if total > MAX_BYTES:
            raise _refused(name, f"brings the archive above {MAX_BYTES >> 20} MiB ({info.file_size:,} bytes alone)")
        if info.file_size > RATIO_FROM_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size):
            raise _refused(name, f"unpacks to {info.file_size:,} bytes from {info.compress_size:,}; no honest file does")
        path = PurePosixPath(name)
        key = _same(name.rstrip("/"))
        known = seen.get(key, folders.get(key))
        if known is not None and not (name.endswith("/") and known == name.rstrip("/") and key in folders):
            raise _refused(name, f"is the same as {known!r} where case or form of letters do not count; rename one")
        if not name.endswith("/"):
            seen[key] = name
            parents = [str(parent) for parent in path.parents if str(parent) != "."]
        else:
            parents = [str(each) for each in (path, *path.parents) if str(each) != "."]
        for parent in parents:
            other = seen.get(_same(parent), folders.setdefault(_same(parent), parent))
            if other != parent:
                raise _refused(name, f"clashes with {other!r} where case or form of letters do not count; rename one")
            if _same(parent) in seen:
                raise _refused(name, f"lies below {other!r}, which is a file")
        names.append(name)
    packed = sum(info.compress_size for info in infos)
    if total > RATIO_FROM_BYTES and total > MAX_RATIO * max(1, packed):
        name = max(zip(infos, names, strict=True), key=lambda each: each[0].file_size / max(1, each[0].compress_size))[1]
        raise _refused(name, f"and the others unpack to {total:,} bytes from {packed:,}; no honest folder does")
    return names


def _same(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _name(info: zipfile.ZipInfo) -> str:
    raw = info.orig_filename.encode("utf-8" if info.flag_bits & _IS_UTF8 else "cp437")
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise _refused(ascii(raw)[2:-1], "is no UTF-8 name; rename it") from None
    shown = name if name.isprintable() else ascii(name)[1:-1]
    if not name.isprintable():
        raise _refused(shown, "is a name with control characters; rename it")
    if len(raw) > MAX_NAME_BYTES or any(len(part.encode()) > 255 for part in name.split("/")):
        raise _refused(shown[:200], "is too long a name; shorten it")
    if name.startswith("/") or name[1:2] == ":":
        raise _refused(shown, "is an absolute path; a folder's files are named from the folder on")
    if "\\" in name:
        raise _refused(shown, "has a backslash in its name; separate folders with '/'")
    if any(part in ("", ".", "..") for part in name.removesuffix("/").split("/")):
        raise _refused(shown, "is a path that leads elsewhere; leave out '..', '.' and empty parts")
    return name


def _check_kind(info: zipfile.ZipInfo, name: str) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise _refused(name, "is a symbolic link; put a copy there")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > name.endswith("/"):
        raise _refused(name, "is no plain file (a device, a pipe or the like); leave it out")
    if _links(info.extra):
        raise _refused(name, "is a link to another file; put a copy there")
    if info.flag_bits & _IS_ENCRYPTED:
        raise _refused(name, "is encrypted; send it as it is")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused(name, "is compressed in a way that is not taken; use deflate")


def _links(extra: bytes) -> bool:
    """Tell whether PKWARE's Unix field names a link's target (APPNOTE.TXT 4.5.7)."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == _UNIX_EXTRA and length > _UNIX_EXTRA_BYTES:
            return True
        extra = extra[4 + length :]
    return False


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    try:
        content = archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _refused(name, f"cannot be unpacked ({error}); make the archive anew") from error
    if len(content) != info.file_size:
        raise _refused(name, f"has {len(content):,} bytes, and not the {info.file_size:,} that the archive declares")
    return content


def _one_folder(names: list[str]) -> str:
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or any("/" not in name for name in names):
        raise DeclarationError("the archive does not hold one folder alone, which would give its name; say ?folder=NAME")
    return tops.pop()


def _refused(name: str, why: str) -> DeclarationError:
    return DeclarationError(f"'{name}' {why}", file=name)
