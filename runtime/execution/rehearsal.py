"""Starts a child of a version before it serves, and has it handle the folder's smoke events.

events/smoke.json    {"thumbnail": {"url": "…", "width": 64}}    data for each function that is to be tried once
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.authoring.manifest import FunctionManifest, Manifest, Problem
from runtime.execution.pool import Call, ChildPool, Failure

SMOKE_FILE = "events/smoke.json"

#: How a pool begins to tell of it.
_TOLD = "the folder cannot be started: "


def rehearse(
    place: Path, manifest: Manifest, *, python: str, state_dir: Path, secret: Callable[[str], str | None], smoke: bool
) -> Problem | None:
    """Return why a version cannot serve, or None when its child started, and handled every smoke event it was to.

    `smoke`: the folder's smoke events are run, with its secrets and its state, as any invocation is; there must be some.
    """
    pool = ChildPool(
        folder=place, name=manifest.folder, python=python, state_dir=state_dir, secret=secret, import_deadline_s=20
    )
    try:
        failure = pool.warm()
        if failure is not None:
            return Problem(folder=manifest.folder, reason=f"its child does not start: {failure.message.removeprefix(_TOLD)}")
        return _smoke(pool, place, manifest) if smoke else None
    finally:
        pool.close()


def _smoke(pool: ChildPool, place: Path, manifest: Manifest) -> Problem | None:
    def problem(reason: str) -> Problem:
        return Problem(folder=manifest.folder, file=SMOKE_FILE, reason=reason)

    functions = {function.name: function for function in manifest.functions}
    try:
        events = json.loads((place / SMOKE_FILE).read_bytes())
    except FileNotFoundError:
        return problem('there is none; write the data of each function to try into it, like {"greet": {"name": "Ada"}}')
    except ValueError as error:
        return problem(f"it is no JSON: {error}")
    if not isinstance(events, dict) or not events or not events.keys() <= functions.keys():
        return problem(f"it must be an object that names functions to try; there are {', '.join(functions)}")
    for name, data in events.items():
        failure = _try(pool, functions[name], data)
        if failure is not None:
            return problem(f"{name!r} failed its smoke event: {failure.type}: {failure.message}")
    return None


def _try(pool: ChildPool, function: FunctionManifest, data: Any) -> Failure | None:
    options = function.options
    event = {"id": "smoke", "source": "/smoke", "type": "oncue.smoke", "time": "1970-01-01T00:00:00+00:00", "data": data}
    call = Call(
        invocation_id="smoke",
        function=function.name,
        attempt=1,
        event=json.dumps(event).encode(),
        blob=None,
        idempotency_key="smoke",
        timeout_s=options.timeout_s,
        memory_bytes=options.memory_bytes,
        trace={},
        secrets=(*options.secrets, *options.optional_secrets),
    )
    ending = pool.call(call, lambda _: None)
    return ending.failure
