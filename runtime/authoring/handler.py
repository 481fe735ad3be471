"""A declared callable with its parameters read: what data it takes, as JSON Schema, and how to call it.

`thumbnail(image: bytes, width: int = 256, *, ctx: Context)` becomes an input of two fields, of which
`image` may also arrive as the raw body, and one slot for the context.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Union

from pydantic import BaseModel, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from runtime.authoring.artifact import Artifact
from runtime.authoring.context import Context
from runtime.authoring.decorators import ATTRIBUTE, Declaration
from runtime.authoring.errors import DeclarationError, OnCueError
from runtime.authoring.event import Event
from runtime.authoring.input_models import input_model, is_bytes, with_base64


class InputError(OnCueError):
    """The event's data does not fit the handler's parameters. `errors`: [{pointer, message}]."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{e['pointer'] or 'data'}: {e['message']}" for e in errors[:5]))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Handler:
    """One function of a folder, ready to be described or called."""

    name: str
    call: Callable[..., Any]
    declaration: Declaration
    #: the pydantic model its data is validated with; for a whole-body parameter, the author's own
    model: type[BaseModel]
    #: the parameter that takes the whole data, when there is one
    whole: str | None
    #: parameters filled with the event and the context
    event_parameters: tuple[str, ...]
    context_parameters: tuple[str, ...]
    #: the one `bytes` parameter, which a raw body fills
    blob_parameter: str | None
    #: whether a `**rest` parameter takes the fields that no other parameter names
    takes_rest: bool
    is_async: bool

    @classmethod
    def read(cls, call: Callable[..., Any]) -> Handler:
        """Read a decorated callable's parameters.

        Raises:
            DeclarationError: a parameter cannot be filled from JSON, or a default cannot be written as JSON.
        """
        declaration: Declaration = getattr(call, ATTRIBUTE)
        name = declaration.name or call.__name__
        place: dict[str, Any] = {"file": declaration.file, "line": declaration.line}
        try:
            hints = typing.get_type_hints(call, include_extras=True)
        except Exception as error:  # whatever an author's annotation raises when it is evaluated
            raise DeclarationError(f"the annotations of {name!r} cannot be read: {error}", **place) from error
        if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
            raise DeclarationError(f"{name!r} is a generator; return what it yields, as a list for instance", **place)
        events, contexts, fields, rest = [], [], {}, False
        for parameter in inspect.signature(call).parameters.values():
            hint = _meant(hints.get(parameter.name, Any))
            if parameter.kind is parameter.VAR_KEYWORD:
                rest = True
            elif parameter.kind is parameter.VAR_POSITIONAL:
                raise DeclarationError(
                    f"{name!r} takes *{parameter.name}; data fills parameters by name, so name each", **place
                )
            elif parameter.kind is parameter.POSITIONAL_ONLY:
                raise DeclarationError(
                    f"{name!r} has the positional-only parameter {parameter.name!r}; data fills parameters by name", **place
                )
            elif parameter.name in _OURS and parameter.name not in hints:
                ours = _OURS[parameter.name]
                raise DeclarationError(
                    f"{name!r} has the parameter {parameter.name!r} without an annotation; write {parameter.name}: {ours}, "
                    f"or {parameter.name}: Any for a field of that name",
                    **place,
                )
            elif hint is Event:
                events.append(parameter.name)
            elif hint is Context:
                contexts.append(parameter.name)
            else:
                default = ... if parameter.default is parameter.empty else parameter.default
                fields[parameter.name] = (with_base64(hint), default)
        blobs = [field for field, (hint, _) in fields.items() if is_bytes(hint)]
        model, whole = input_model(name, fields, rest, place)
        return cls(
            name=name,
            call=call,
            declaration=declaration,
            model=model,
            whole=whole,
            event_parameters=tuple(events),
            context_parameters=tuple(contexts),
            blob_parameter=blobs[0] if len(blobs) == 1 else None,
            takes_rest=rest,
            is_async=inspect.iscoroutinefunction(call),
        )

    def arguments(self, event: Event, blob: bytes | None, context: Context) -> dict[str, Any]:
        """Return the keyword arguments for one call; `blob` is a raw body.

        Raises:
            InputError: the data does not fit, with one JSON pointer per misfit.
        """
        data = {} if event.data is None else event.data
        if self.whole is None and self.model.model_fields and not isinstance(data, dict):
            raise InputError([{"pointer": "", "message": f"data must be an object, not {type(data).__name__}"}])
        if blob is not None and self.blob_parameter is not None:
            data = {**data, self.blob_parameter: blob}
        elif blob is not None and event.data is None:
            event = replace(event, data=blob)
        arguments: dict[str, Any] = dict.fromkeys(self.event_parameters, event)
        arguments.update(dict.fromkeys(self.context_parameters, context))
        if not self.model.model_fields and not self.takes_rest and self.whole is None:
            return arguments
        try:
            value = self.model.model_validate(data if self.whole or isinstance(data, dict) else {})
        except ValidationError as error:
            raise InputError(
                [
                    {"pointer": "".join(f"/{_escape(part)}" for part in e["loc"]), "message": e["msg"]}
                    for e in error.errors(include_url=False, include_context=False, include_input=False)
                ]
            ) from None
        if self.whole:
            arguments[self.whole] = value
        else:
            arguments.update({field.alias or name: getattr(value, name) for name, field in self.model.model_fields.items()})
            arguments.update(value.model_extra or {})
        return arguments

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the data it takes."""
        try:
            schema = self.model.model_json_schema(mode="validation")
        except PydanticInvalidForJsonSchema as error:
            declaration = self.declaration
            raise DeclarationError(
                f"a parameter of {self.name!r} has no JSON form: {error.message}", file=declaration.file, line=declaration.line
            ) from error
        if self.whole is None:
            schema.pop("title", None)
        return schema

    def output_schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of its result, or None when it is a file or not annotated."""
        hint = typing.get_type_hints(self.call, include_extras=True).get("return", Any)
        if hint in (Any, Artifact, bytes, types.NoneType):
            return None
        try:
            return TypeAdapter(hint).json_schema(mode="serialization")
        except (PydanticUserError, PydanticSchemaGenerationError):
            return None  # a result may be anything; only what has a schema is described


def _escape(part: int | str) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


#: Names that say what a parameter is for, to whoever has not annotated it.
_OURS = {"ctx": "Context", "context": "Context", "event": "Event"}


def _meant(hint: Any) -> Any:
    """Take `Context | None` and `Annotated[Event, …]` for what they hold; any other annotation as it is."""
    bare = hint
    while arguments := [each for each in typing.get_args(bare) if each is not types.NoneType]:
        is_optional = typing.get_origin(bare) in (Union, types.UnionType) and len(arguments) == 1
        if not is_optional and typing.get_origin(bare) is not Annotated:
            break
        bare = arguments[0]
    return bare if bare in (Event, Context) else hint
