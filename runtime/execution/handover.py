"""The worker's side of `ctx.artifact`: answers a child that wants the result of another invocation."""

from __future__ import annotations

import json
from collections.abc import Callable

import structlog

from runtime.execution.frames import to_meta
from runtime.ledger.artifacts import NoArtifactError
from runtime.ledger.records import ResultInfo

#: Reads a result by invocation id. Raises NoArtifactError for none, anything else when it cannot be read now.
Read = Callable[[str], tuple[ResultInfo, bytes]]


def read_nothing(invocation_id: str) -> tuple[ResultInfo, bytes]:
    """Say that there are no results: what a pool without a ledger reads."""
    raise NoArtifactError(f"the result of {invocation_id!r} cannot be read here: this child runs without a ledger")


def fetched(meta: bytes, read: Read) -> tuple[bytes, bytes]:
    """Return meta and body of the answer to a FETCH frame. Never raises: what went wrong is told to the handler."""
    invocation_id = str(json.loads(meta)["id"])
    try:
        info, body = read(invocation_id)
    except NoArtifactError as error:
        return to_meta({"error": str(error), "missing": True}), b""
    except Exception as error:  # noqa: BLE001  # whatever Redis or the object store raise: an attempt failed, not the worker
        structlog.get_logger("oncue.executor").warning("a result cannot be handed over", id=invocation_id, reason=str(error))
        return to_meta({"error": f"the result of {invocation_id!r} cannot be read now", "missing": False}), b""
    return to_meta({"media_type": info.media_type, "filename": info.filename}), body
