"""Inside the child: turns what a handler returned, or raised, into what goes up to the worker."""

from __future__ import annotations

import dataclasses
import errno
import math
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

import runtime
from runtime.authoring.artifact import Artifact
from runtime.authoring.errors import GiveUp, Retry

MAX_TRACEBACK_CHARS = 16 * 1024
MAX_MESSAGE_CHARS = 2000

#: What may leave with one success: it is written in one step, for which everybody else waits.
MAX_FOLLOW_UPS = 10_000
MAX_FOLLOW_UP_BYTES = 8 * 2**20

JSON = "application/json"

_OURS = str(Path(runtime.__file__).parent)


class ResultError(Exception):
    """A value cannot leave the child: it is no JSON, or its file cannot be read."""


def encode(value: Any) -> tuple[bytes, str, str | None]:
    """Return a result's bytes, media type and file name.

    Raises:
        ResultError: naming the type and the place in the value.
    """
    if value is None:
        return b"null", JSON, None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), "application/octet-stream", None
    if isinstance(value, Artifact):
        try:
            return value.read(), value.media_type, value.filename
        except OSError as error:
            raise ResultError(f"the file of the Artifact cannot be read: {error}; write it before returning it") from error
    return strict_json(value, "the result"), JSON, None


def strict_json(value: Any, what: str) -> bytes:
    """Write a value as JSON that every reader takes: no NaN, nothing left out. Nested bytes become base64.

    Raises:
        ResultError: naming the type and the place in the value.
    """
    try:
        data = to_json(value, bytes_mode="base64", inf_nan_mode="constants")
    except MemoryError:
        raise
    except Exception as error:
        # pydantic says what is wrong, but not where.
        for place, part in _walk(value, what):
            if not isinstance(part, Mapping | list | tuple | BaseModel) and not dataclasses.is_dataclass(part):
                try:
                    to_json(part)
                except Exception:  # noqa: BLE001  # any failure marks the place
                    raise ResultError(
                        f"{place} is {_article(part)}, which has no JSON form; return JSON values, a pydantic model, "
                        "a dataclass, bytes or an Artifact"
                    ) from error
        raise ResultError(f"{what} ({type(value).__name__}) has no JSON form: {error}") from error
    if b"NaN" in data or b"Infinity" in data:
        for place, part in _walk(value, what):
            if isinstance(part, float) and not math.isfinite(part):
                raise ResultError(f"{place} is {part}, which JSON cannot write; use None or a string")
    return data


class FollowUps:
    """What `ctx.emit` and `ctx.invoke` were given in one attempt, as JSON; any thread may add."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self._size = 0

    def add(self, kind: str, payload: dict[str, Any]) -> None:
        """Take one more.

        Raises:
            ResultError: it has no JSON form, or is more than may leave with one success.
        """
        document = strict_json({"kind": kind, **payload}, f"ctx.{kind}")
        if len(self.written) >= MAX_FOLLOW_UPS:
            raise ResultError(f"ctx.{kind} was called more than {MAX_FOLLOW_UPS:,} times; give each call several items")
        if self._size + len(document) > MAX_FOLLOW_UP_BYTES:
            raise ResultError(
                f"ctx.{kind}: what was given to emit and invoke has {self._size + len(document):,} bytes; the most is "
                f"{MAX_FOLLOW_UP_BYTES:,}: return what is large as the result, and pass its id on for ctx.artifact"
            )
        self._size += len(document)
        self.written.append(document)


def _walk(value: Any, place: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every part of a value with its place, written like Python: "the result['rows'][3].price"."""
    yield place, value
    if depth > 50:
        return
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _walk(part, f"{place}[{key!r}]", depth + 1)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _walk(part, f"{place}[{index}]", depth + 1)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name, None), f"{place}.{name}", depth + 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _walk(getattr(value, field.name, None), f"{place}.{field.name}", depth + 1)


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def failure(error: BaseException, folder: str) -> dict[str, Any]:
    """Describe an exception of the author's code: {"kind", "type", "message", "traceback", "retry_after_s"}."""
    kind, text = "raised", _text(error)
    if isinstance(error, Retry):
        kind = "retry"
    elif isinstance(error, GiveUp):
        kind = "give_up"
    elif isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        kind = "memory"
    elif isinstance(error, SystemExit):
        text = f"the handler called sys.exit({error.code!r}); return a value or raise an error instead"
    place = _place(error, folder)
    return {
        "kind": kind,
        "type": type(error).__name__,
        "message": f"{text[:MAX_MESSAGE_CHARS]} ({place})" if place else text[:MAX_MESSAGE_CHARS],
        "traceback": format_traceback(error),
        "retry_after_s": _retry_after_s(error),
    }


def _retry_after_s(error: BaseException) -> float | None:
    """What an error says of when to try again: its own `retry_after`, or the header Retry-After of the HTTP answer it brings.

    httpx and requests keep that answer in `response`, urllib.error.HTTPError is one; the header is seconds or a date
    (RFC 9110, 10.2.3).
    """
    try:
        value: Any = error.after_s if isinstance(error, Retry) else getattr(error, "retry_after", None)
        if value is None:
            answer: Any = getattr(error, "response", error)
            value = answer.headers.get("Retry-After")
        if isinstance(value, str):
            value = float(value) if value.strip().isdigit() else max(_seconds_until(value), 0.0)
        if not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value < math.inf:
            return float(value)
    except Exception:  # noqa: BLE001  # an author's attributes may be, and raise, anything
        return None
    return None


def _seconds_until(date: str) -> float:
    from email.utils import parsedate_to_datetime  # only an error that names a date needs it

    return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001  # an author's __str__ may raise anything
        return f"{type(error).__name__}, whose text cannot be read"


def _place(error: BaseException, folder: str) -> str:
    """The author's innermost line: "__init__.py:12, in thumbnail"."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename.removeprefix(folder + '/')}:{error.lineno}"
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_code.co_filename.startswith(folder + "/"):
            return f"{frame.f_code.co_filename.removeprefix(folder + '/')}:{line}, in {frame.f_code.co_name}"
    return ""


def format_traceback(error: BaseException) -> str:
    """Format an exception without the frames of OnCue and of the import machinery; its middle is cut when it is long."""
    try:
        told = traceback.TracebackException.from_exception(error)
        _drop_our_frames(told)
        text = "".join(told.format())
    except Exception:  # noqa: BLE001  # an author's __str__ may raise anything
        text = "".join(traceback.format_tb(error.__traceback__))
    if len(text) > MAX_TRACEBACK_CHARS:
        half = MAX_TRACEBACK_CHARS // 2 - 20
        text = f"{text[:half]}\n  [… cut …]\n{text[-half:]}"
    return text


def _drop_our_frames(told: traceback.TracebackException) -> None:
    link: traceback.TracebackException | None = told
    while link is not None:
        kept = [
            f for f in link.stack if not f.filename.startswith((_OURS, "<frozen importlib")) and "/asyncio/" not in f.filename
        ]
        link.stack = traceback.StackSummary.from_list(kept)
        link = link.__cause__ or link.__context__
