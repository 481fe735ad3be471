"""The pydantic model that a handler's parameters make: `(image: bytes, width: int = 256)` is two fields, one of them base64."""

from __future__ import annotations

import base64
import binascii
import json
import types
import typing
from typing import Annotated, Any, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from runtime.authoring import misfits
from runtime.authoring.errors import DeclarationError


def _from_base64(value: object) -> object:
    if isinstance(value, str):
        try:
            return base64.b64decode(value.translate(_URL_SAFE), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("bytes are written as base64 in JSON") from error
    return value


_URL_SAFE = str.maketrans("-_", "+/", " \r\n")

_Bytes = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]


def is_bytes(hint: Any) -> bool:
    """Tell whether a parameter of this annotation takes a raw body."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return is_bytes(arguments[0])
    return hint is bytes or (origin in (Union, types.UnionType) and any(is_bytes(arg) for arg in arguments))


def with_base64(hint: Any) -> Any:
    """Return the annotation with every `bytes` in it reading base64 text."""
    if hint is bytes:
        return _Bytes
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return Annotated[(with_base64(arguments[0]), *arguments[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(with_base64(a) for a in arguments)]  # noqa: UP007  # built at run time: `|` cannot be
    if origin in (list, dict, set, tuple, frozenset):
        return origin[tuple(with_base64(a) for a in arguments)]
    return hint


def input_model(
    name: str, fields: dict[str, tuple[Any, Any]], rest: bool, place: dict[str, Any]
) -> tuple[type[BaseModel], str | None]:
    """Return the model of a handler's data, and the parameter that takes all of it when it is a model itself.

    `fields`: annotation and default (`...` for none) by name; `rest`: whether further fields are kept; `place`: where the
    handler is declared.

    Raises:
        DeclarationError: a parameter cannot be filled from JSON, or a default cannot be written as JSON.
    """
    if len(fields) == 1 and not rest:
        ((parameter, (hint, default)),) = fields.items()
        if isinstance(hint, type) and issubclass(hint, BaseModel) and default is ...:
            return hint, parameter
    config = ConfigDict(extra="allow" if rest else "ignore", protected_namespaces=())
    for parameter, (hint, default) in fields.items():
        _check_parameter(name, parameter, hint, default, place)
    try:
        definitions: dict[str, Any] = {}
        for parameter, (hint, default) in fields.items():
            if hasattr(BaseModel, parameter):  # "json", "copy", "model_config": a model has these for itself
                definitions[f"parameter_{parameter}"] = (Annotated[hint, Field(alias=parameter)], default)
            else:
                definitions[parameter] = (hint, default)
        return create_model(f"{name} input", __config__=config, **definitions), None
    except (PydanticUserError, NameError) as error:
        raise DeclarationError(f"the parameters of {name!r} cannot be used: {error}", **place) from error


_PLAIN = "use plain types, dataclasses or pydantic models"


def _check_parameter(name: str, parameter: str, hint: Any, default: Any, place: dict[str, Any]) -> None:
    if parameter.startswith("_"):
        raise DeclarationError(f"{name!r} has the parameter {parameter!r}; data cannot fill names that start with '_'", **place)
    try:
        adapter = TypeAdapter(hint)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        mend = "use typing_extensions.TypedDict" if "typing_extensions.TypedDict" in str(error) else _PLAIN
        raise DeclarationError(
            f"{name!r} has the parameter {parameter!r} of type {_type_name(hint)}, which cannot be read from JSON; {mend}",
            **place,
        ) from error
    if default is ...:
        return
    try:
        valid = adapter.validate_python(default)
    except ValidationError as error:
        mend = f"annotate it {_type_name(hint)} | None" if default is None else misfits.cure(error.errors()[0])
        raise DeclarationError(
            f"the default of {parameter!r} in {name!r} is {default!r}, which does not fit {_type_name(hint)}; {mend}", **place
        ) from error
    try:
        json.dumps(adapter.dump_python(valid, mode="json", warnings="error"), allow_nan=False)
    except Exception as error:  # pydantic raises several kinds here; each means the same to the author
        raise DeclarationError(
            f"the default of {parameter!r} in {name!r} is {default!r}, which is no JSON value of its type; "
            "use a plain value, or None and build it inside",
            **place,
        ) from error


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is Annotated:
        return _type_name(typing.get_args(hint)[0])
    if typing.get_args(hint):
        return str(hint).replace("typing.", "")
    return getattr(hint, "__name__", None) or str(hint)
