"""Handlers that no data can fill: refused when they are declared."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from runtime import DeclarationError, function
from runtime.authoring.decorators import ATTRIBUTE
from runtime.authoring.handler import Handler


def read(call: Callable[..., Any]) -> Handler:
    return Handler.read(call if hasattr(call, ATTRIBUTE) else function(call))


def positional_only(a, /): ...


def variadic(*a): ...


def private(_a: int): ...


def with_callable(a: Callable[[], int]): ...


def generator():
    yield 1


async def async_generator():
    yield 1


def unannotated_context(ctx): ...


def unannotated_event(event): ...


def nan_default(a: float = math.nan): ...


def default_out_of_bounds(a: Annotated[int, Field(ge=1)] = 0): ...


def default_that_is_none_of_these(a: Literal["x", "y"] = "z"): ...  # type: ignore[assignment]  # what the test is about


class Opaque:
    """No dataclass, no model."""


def with_object(a: Opaque): ...


def unreadable(a: Missing): ...  # noqa: F821  # what the test is about


def bad_default(a: Any = object()): ...  # noqa: B008  # as above


def default_of_another_type(a: int = "x"): ...  # type: ignore[assignment]  # as above


def none_for_an_int(a: int = None): ...  # type: ignore[assignment]  # noqa: RUF013  # as above


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (positional_only, "'positional_only' has the positional-only parameter 'a'; data fills parameters by name"),
        (variadic, r"takes \*a; data fills parameters by name"),
        (generator, "is a generator; return what it yields"),
        (async_generator, "is a generator; return what it yields"),
        (unannotated_context, "write ctx: Context"),
        (unannotated_event, "write event: Event"),
        (nan_default, "the default of 'a' in 'nan_default' is nan, which is no JSON value"),
        (default_out_of_bounds, "is 0, which does not fit int; the least is 1"),
        (default_that_is_none_of_these, "which does not fit Literal.'x', 'y'.; write 'x' or 'y'"),
        (private, "data cannot fill names that start with '_'"),
        (with_callable, "cannot be used|cannot be read from JSON|no JSON form"),
        (with_object, "of type Opaque, which cannot be read from JSON; use plain types"),
        (unreadable, "the annotations of 'unreadable' cannot be read: name 'Missing' is not defined"),
        (bad_default, "the default of 'a' in 'bad_default' is <object object"),
        (default_of_another_type, "the default of 'a' in 'default_of_another_type' is 'x'"),
        (none_for_an_int, "is None, which does not fit int; annotate it int . None"),
    ],
)
def test_what_no_data_can_fill_is_refused(call: Callable[..., Any], reason: str) -> None:
    """At declaration, with the function's name and place."""
    with pytest.raises(DeclarationError, match=reason) as caught:
        read(call).input_schema()
    assert caught.value.file == __file__
    assert caught.value.line == call.__code__.co_firstlineno
