"""Functions as the edge serves them: with their schema compiled, once per version, and data checked against it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import jsonschema_rs
import structlog

from runtime.versions.catalog import Function
from triggers.http.answers import ProblemError

#: Misfits named in one answer.
MAX_ERRORS = 20


class Target:
    """A function that requests can reach."""

    __slots__ = ("_whole", "_without_blob", "event_head", "fields", "function", "manifest", "max_body_bytes", "name", "queue")

    def __init__(self, function: Function) -> None:
        self.function = function
        self.manifest = manifest = function.manifest
        self.name = manifest.name
        self.queue = manifest.options.queue
        self.max_body_bytes = manifest.options.max_body_bytes
        #: what stands between the id and the time in the document of a direct invocation's event
        self.event_head = b'","source":"/v1/functions/%s","type":"oncue.invoke","time":"' % self.name.encode()
        schema = manifest.input_schema
        properties: dict[str, Any] = schema.get("properties", {})
        takes_any_object = manifest.takes_rest or schema.get("additionalProperties", False) is not False
        #: the names data may have; None when any will do
        self.fields = frozenset(properties) if properties and not takes_any_object else None
        # Without data parameters the handler takes the event itself, whatever is in it, or nothing at all.
        self._whole = _compile(self.name, schema) if properties or not _is_plain_object(schema) else None
        self._without_blob = self._whole
        if manifest.blob_parameter in schema.get("required", ()):
            required = [name for name in schema["required"] if name != manifest.blob_parameter]
            self._without_blob = _compile(self.name, {**schema, "required": required})

    def check(self, data: Any, *, has_blob: bool = False, refuse_unknown: bool = True) -> None:
        """Refuse data that does not fit the function's parameters; `has_blob`: a raw body fills one of them.

        Raises:
            ProblemError: 400, with one JSON pointer per misfit.
        """
        validator = self._without_blob if has_blob else self._whole
        if refuse_unknown and self.fields is not None and type(data) is dict and not data.keys() <= self.fields:
            raise self._misfit([self._unknown(name) for name in data if name not in self.fields])
        if validator is not None and not validator.is_valid(data):
            raise self._misfit(_misfits(validator.iter_errors(data)))

    def _misfit(self, errors: list[dict[str, str]]) -> ProblemError:
        detail = "; ".join(f"{error['pointer'] or 'data'}: {error['message']}" for error in errors[:3])
        return ProblemError(400, "invalid-data", f"the data does not fit {self.name!r}: {detail}", errors=errors[:MAX_ERRORS])

    def _unknown(self, name: str) -> dict[str, str]:
        fields = sorted(self.fields or ())
        near = difflib.get_close_matches(name[:100], fields, n=1)
        cure = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(fields)}"
        return {"pointer": _pointer([name[:100]]), "message": f"{self.name!r} has no such parameter; {cure}"}


def _is_plain_object(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "object"


def _compile(name: str, schema: dict[str, Any]) -> jsonschema_rs.Validator | None:
    try:
        # Masked: what was sent may be a secret, and must not come back in a message.
        return jsonschema_rs.validator_for(schema, mask="the value", offline=True)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        structlog.get_logger("oncue.http").warning(
            "a schema cannot be compiled; its data is checked in the child only", function=name, reason=str(error)
        )
        return None


def _misfits(errors: Iterable[jsonschema_rs.ValidationError]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for error in errors:
        path = list(error.instance_path)
        if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
            path.append(str(error.kind.property))
            found.append({"pointer": _pointer(path), "message": "is required"})
        else:
            found.append({"pointer": _pointer(path), "message": error.message[:500]})
        if len(found) == MAX_ERRORS:
            break
    return found


def _pointer(path: Iterable[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)  # RFC 6901, section 3
