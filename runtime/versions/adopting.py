"""Which invocations that wait could run on another version: their data is held against its schemas first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs
import msgspec

from runtime.authoring.manifest import FunctionManifest, Manifest
from runtime.ledger.backlog import Backlog, Waiting

#: Misfits that are told by id; the others are counted.
MAX_TOLD = 20


@dataclass(slots=True)
class Adoption:
    """What waits and fits a version, and what does not fit."""

    fitting: list[Waiting] = field(default_factory=list)
    #: (invocation id, reason)
    misfits: list[tuple[str, str]] = field(default_factory=list)


def find(backlog: Backlog, manifest: Manifest, version: str, of: Collection[str]) -> Adoption:
    """Hold what waits on the versions `of` a folder against the schemas of another one of its versions."""
    functions = {function.name: function for function in manifest.functions}
    validators: dict[tuple[str, bool], Any] = {}
    adoption = Adoption()
    for waiting in backlog.waiting(functions):
        if waiting.version == version or waiting.version not in of:
            continue
        key = (waiting.function, waiting.has_blob)
        if key not in validators:
            validators[key] = _validator(functions[waiting.function], has_blob=waiting.has_blob)
        reason = _misfit(validators[key], msgspec.json.decode(waiting.event).get("data"))
        if reason:
            adoption.misfits.append((waiting.id, reason))
        else:
            adoption.fitting.append(waiting)
    return adoption


def _validator(function: FunctionManifest, *, has_blob: bool) -> Any:
    schema = function.input_schema
    if not schema.get("properties") and schema.get("type") == "object":
        return None  # it takes the event itself, or nothing: as at the edge, any data will do
    if has_blob:
        schema = {**schema, "required": [name for name in schema.get("required", ()) if name != function.blob_parameter]}
    # Masked: what was sent may be a secret, and must not come back in a message.
    return jsonschema_rs.validator_for(schema, mask="the value", offline=True)


def _misfit(validator: Any, data: Any) -> str:
    if validator is None:
        return ""
    error = next(iter(validator.iter_errors(data)), None)
    if error is None:
        return ""
    place = "".join(f"/{part}" for part in error.instance_path)
    return f"{place or 'data'}: {error.message}"[:300]
