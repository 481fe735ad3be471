"""The words between a worker and its children, over a Unix socket pair.

A frame is a ten-byte header, `meta` (JSON) and `body` (raw bytes, never encoded again):

    down  CALL      meta [id, function, attempt, key, timeout_s, memory_bytes, trace, secrets], body the event's JSON document;
                    with HAS_BLOB the document is the last of meta, and body the blob
    up    READY     the folder is imported           START_FAILED  it is not; meta {type, message, traceback}
          LOG       meta {level, logger, line}       PROGRESS      meta {fraction, note}
          RESULT    meta "" or {media_type, filename, follow_ups}, body the result
          FAILURE   meta {kind, type, message, …}
          FETCH     meta {id}: the result of an invocation is wanted
    down  FETCHED   meta {media_type, filename}, body the result; or meta {error, missing}
"""

from __future__ import annotations

import socket
import struct
from json import dumps  # by name: the author's code may replace what `json` holds
from typing import Any, Final, NamedTuple

CALL: Final = 1
READY: Final = 2
START_FAILED: Final = 3
LOG: Final = 4
PROGRESS: Final = 5
RESULT: Final = 6
FAILURE: Final = 7
FETCH: Final = 8
FETCHED: Final = 9

#: the call carries a blob, which may be empty
HAS_BLOB: Final = 1
#: the child must not be used again: it ran out of memory, or left processes behind
SPENT: Final = 2

#: kind, flags, bytes of meta, bytes of body
HEADER: Final = struct.Struct("<BBII")

#: characters of a line of output that are kept
MAX_LINE_CHARS: Final = 8 * 1024

#: the largest result; a call may bring a body of as much, and its event besides
MAX_RESULT_BYTES: Final = 2**30
MAX_FRAME_BYTES: Final = 2**30 + 2**26

#: the largest meta: what follows from a result (results.py bounds it) is the most that is said in one
MAX_META_BYTES: Final = 2**24

# One read takes a whole small frame; a started large one is fetched in larger pieces.
_READ_BYTES = 64 * 1024
_LARGE_READ_BYTES = 1024 * 1024


class Frame(NamedTuple):
    kind: int
    flags: int
    meta: bytes
    body: bytes


class FrameError(Exception):
    """What came over the socket is no frame: something else wrote to it."""


def to_meta(value: dict[str, Any]) -> bytes:
    """Write meta; half characters (lone surrogates, from undecodable file names) become "?", for they are no Unicode."""
    return dumps(value, ensure_ascii=False).encode(errors="replace")


def pack(kind: int, meta: bytes = b"", body: bytes = b"", flags: int = 0) -> bytes:
    return HEADER.pack(kind, flags, len(meta), len(body)) + meta + body


class FrameReader:
    """Takes bytes off a socket and hands out whole frames."""

    __slots__ = ("_partial",)

    def __init__(self) -> None:
        self._partial = bytearray()

    def read(self, source: socket.socket) -> list[Frame] | None:
        """Read once and return the frames that are complete now; None when the other end is closed.

        Raises:
            BlockingIOError: the socket is non-blocking and empty.
            FrameError: the bytes are no frames.
        """
        data = source.recv(_LARGE_READ_BYTES if self._partial else _READ_BYTES)
        if not data:
            return None
        if not self._partial:
            # Nearly always: one read, one frame, no copy into the partial buffer.
            kind, flags, meta, body = HEADER.unpack_from(data) if len(data) >= HEADER.size else (0, 0, 0, 0)
            if kind and HEADER.size + meta + body == len(data):
                split = HEADER.size + meta
                return [Frame(kind, flags, data[HEADER.size : split], data[split:])]
        self._partial += data
        return self._whole_frames()

    def _whole_frames(self) -> list[Frame]:
        frames, start, partial = [], 0, self._partial
        while len(partial) - start >= HEADER.size:
            kind, flags, meta, body = HEADER.unpack_from(partial, start)
            if not CALL <= kind <= FETCHED or meta > MAX_META_BYTES or meta + body > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of kind {kind} and {meta + body:,} bytes cannot be")
            split = start + HEADER.size + meta
            if len(partial) < split + body:
                break
            with memoryview(partial) as view:
                frames.append(Frame(kind, flags, bytes(view[split - meta : split]), bytes(view[split : split + body])))
            start = split + body
        del partial[:start]
        return frames
