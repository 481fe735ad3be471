"""A handler's parameters: what data they take, as JSON Schema, and how an event fills them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, Optional, Union

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from runtime import Artifact, Context, Event, function
from runtime.authoring.decorators import ATTRIBUTE
from runtime.authoring.handler import Handler, InputError


class Order(BaseModel):
    sku: str
    count: int = Field(ge=1)


@dataclass
class Place:
    x: int
    y: int = 0


class Colour(Enum):
    RED = "red"


def event(data: Any) -> Event:
    return Event("1", "/test", "oncue.invoke", datetime(2026, 1, 1, tzinfo=UTC), data)


def read(call: Callable[..., Any]) -> Handler:
    return Handler.read(call if hasattr(call, ATTRIBUTE) else function(call))


def arguments(call: Callable[..., Any], data: Any = None, blob: bytes | None = None) -> dict[str, Any]:
    return read(call).arguments(event(data), blob, Context())


def errors(call: Callable[..., Any], data: Any = None, blob: bytes | None = None) -> list[dict[str, str]]:
    with pytest.raises(InputError) as caught:
        arguments(call, data, blob)
    return caught.value.errors


def test_data_fills_parameters_by_name_and_type() -> None:
    """Values are validated and converted by their annotations; what nobody asked for is left out."""

    def call(
        a: int, b: date, c: Colour, d: Literal["x"], place: Place, order: Order, e: float | None = None, *, f: str = "f"
    ): ...

    data = {"a": "5", "b": "2026-01-02", "c": "red", "d": "x", "place": {"x": 1}, "order": {"sku": "s", "count": 2}, "extra": 1}
    assert arguments(call, data) == {
        "a": 5,
        "b": date(2026, 1, 2),
        "c": Colour.RED,
        "d": "x",
        "place": Place(1, 0),
        "order": Order(sku="s", count=2),
        "e": None,
        "f": "f",
    }


def test_event_and_context_fill_their_parameters() -> None:
    """By annotation, whatever they are called and wherever they stand."""

    def call(told: Event, n: int, *, ctx: Context): ...

    handler, context, happened = read(call), Context(), event({"n": 1})
    filled = handler.arguments(happened, None, context)
    assert filled["told"] is happened
    assert filled["ctx"] is context
    assert filled["n"] == 1
    assert list(handler.input_schema()["properties"]) == ["n"]


def test_a_context_that_may_be_left_out() -> None:
    """`Context | None` gets the context: a unit test may call the handler without one."""

    def call(n: int = 1, told: Annotated[Event, "the event"] | None = None, ctx: Context | None = None): ...

    handler, context, happened = read(call), Context(), event({})
    assert handler.arguments(happened, None, context) == {"n": 1, "told": happened, "ctx": context}
    assert list(handler.input_schema()["properties"]) == ["n"]


@pytest.mark.parametrize("data", [None, {}, [1], "text", 5])
def test_a_handler_without_data_parameters_takes_any_data(data: Any) -> None:
    """Nothing is asked of an event that only sets it off."""

    def call(ctx: Context): ...

    assert list(arguments(call, data)) == ["ctx"]


def test_a_lone_model_is_the_whole_body() -> None:
    """Its own schema is the input's, and errors point into it."""

    def call(order: Order, ctx: Context): ...

    handler = read(call)
    assert handler.whole == "order"
    assert handler.input_schema()["title"] == "Order"
    assert arguments(call, {"sku": "a", "count": 1})["order"] == Order(sku="a", count=1)
    assert errors(call, {"sku": "a", "count": 0})[0]["pointer"] == "/count"
    assert errors(call, [1])[0]["pointer"] == ""
    assert errors(call)[0]["pointer"] == "/sku"


def test_a_model_beside_others_is_a_field() -> None:
    """With a second parameter, or a default, the model is found under its name."""

    def two(order: Order, n: int = 0): ...
    def optional(order: Order | None = None): ...

    assert arguments(two, {"order": {"sku": "a", "count": 1}})["order"].sku == "a"
    assert arguments(optional, {}) == {"order": None}


def test_keyword_arguments_take_the_rest() -> None:
    """`**rest` gets the fields that no other parameter names, as they are."""

    def call(a: int, **rest: Any): ...
    def only(**rest: Any): ...

    assert arguments(call, {"a": "1", "b": "2", "c": [3]}) == {"a": 1, "b": "2", "c": [3]}
    assert arguments(only, {"x": 1}) == {"x": 1}
    assert arguments(only) == {}
    assert read(call).takes_rest
    assert read(call).input_schema()["additionalProperties"] is True


def test_unannotated_parameters_take_anything() -> None:
    """Without an annotation there is nothing to validate."""

    def call(a, b=3): ...

    assert arguments(call, {"a": {"x": [None]}}) == {"a": {"x": [None]}, "b": 3}


def test_async_handlers_are_told_apart() -> None:
    """`async def` is read like any other."""

    async def call(a: int): ...

    assert read(call).is_async
    assert arguments(call, {"a": 1}) == {"a": 1}


@given(st.binary(max_size=300), st.booleans())
def test_bytes_are_read_from_base64_of_either_alphabet(content: bytes, url_safe: bool) -> None:
    """Whatever the bytes: standard and URL-safe base64 mean the same."""

    def call(image: bytes): ...

    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(content).decode()
    assert arguments(call, {"image": text}) == {"image": content}


def optional_pipe(image: bytes | None = None, width: int = 1): ...


def optional_old(image: Optional[bytes] = None, width: int = 1): ...  # noqa: UP045  # authors write it


def union(image: Union[bytes, None] = None, width: int = 1): ...  # noqa: UP007  # as above


def annotated(image: Annotated[bytes, Field(max_length=8)] = b"", width: int = 1): ...


def annotated_optional(image: Annotated[bytes, Field(max_length=8)] | None = None, width: int = 1): ...


def plain(image: bytes, width: int = 1): ...


@pytest.mark.parametrize("call", [optional_pipe, optional_old, union, annotated, annotated_optional, plain])
def test_a_bytes_parameter_takes_base64_and_the_raw_body(call: Callable[..., Any]) -> None:
    """However its annotation is written."""
    handler = read(call)
    assert handler.blob_parameter == "image"
    assert arguments(call, {"image": "AP8="})["image"] == b"\x00\xff"
    assert arguments(call, {"width": "7"}, b"\xff")["image"] == b"\xff"
    assert arguments(call, None, b"\xff") == {"image": b"\xff", "width": 1}
    assert errors(call, {"image": "no base64!"})[0]["pointer"].startswith("/image")
    assert '"contentEncoding": "base64"' in json.dumps(handler.input_schema())


def test_bytes_that_no_parameter_takes_are_the_events_data() -> None:
    """Whoever asks for the event gets all of it; beside fields it stays with these."""

    def call(event: Event) -> None: ...

    assert arguments(call, None, b"\xff")["event"].data == b"\xff"
    assert arguments(call, {"width": 3}, b"\xff")["event"].data == {"width": 3}


def test_constraints_on_bytes_count_bytes() -> None:
    """A limit is of what is inside the base64."""
    assert arguments(annotated, {"image": base64.b64encode(b"12345678").decode()})["image"] == b"12345678"
    assert errors(annotated, {"image": base64.b64encode(b"123456789").decode()})[0]["pointer"] == "/image"


def test_bytes_within_containers_are_base64_too() -> None:
    """In lists, dicts and tuples."""

    def call(files: list[bytes], named: dict[str, bytes] = {}, pair: tuple[bytes, ...] = ()): ...  # noqa: B006  # authors do

    filled = arguments(call, {"files": ["AA=="], "named": {"a": "AQ=="}, "pair": ["Ag=="]})
    assert filled == {"files": [b"\x00"], "named": {"a": b"\x01"}, "pair": (b"\x02",)}
    assert read(call).blob_parameter is None


def test_two_bytes_parameters_take_no_raw_body() -> None:
    """It would be a guess which one is meant."""

    def call(a: bytes, b: bytes): ...

    assert read(call).blob_parameter is None


def test_errors_point_at_each_misfit() -> None:
    """RFC 6901 pointers, with its escapes, and one message each."""

    def call(a: int, b: dict[str, int], c: list[Order]): ...

    found = errors(call, {"a": "x", "b": {"m/n~o": "y"}, "c": [{"sku": "s", "count": 1}, {"count": 0}]})
    assert {each["pointer"] for each in found} == {"/a", "/b/m~1n~0o", "/c/1/sku", "/c/1/count"}
    assert all(each["message"] for each in found)
    assert errors(call, [1, 2]) == [{"pointer": "", "message": "data must be an object, not list"}]
    assert "hunter2" not in str(errors(call, {"a": "hunter2", "b": {}, "c": []}))


def test_schemas_are_json_schema() -> None:
    """Types, defaults, constraints and requirements are there; the schema is valid to a strict reader."""

    def call(a: int, b: Annotated[str, Field(max_length=3)] = "x", c: list[Order] | None = None) -> list[Place]: ...

    handler = read(call)
    schema = handler.input_schema()
    assert schema["required"] == ["a"]
    assert schema["properties"]["b"] == {"default": "x", "maxLength": 3, "title": "B", "type": "string"}
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid({"a": 1, "c": [{"sku": "s", "count": 1}]})
    assert not validator.is_valid({"a": 1, "c": [{"sku": "s", "count": 0}]})
    output = handler.output_schema()
    assert output is not None
    assert output["type"] == "array"


@pytest.mark.parametrize("hint", [Artifact, bytes, None, Any, Callable[[], int]])
def test_results_without_a_json_form_have_no_schema(hint: Any) -> None:
    """A file, nothing, or what cannot be described."""

    def call(): ...

    call.__annotations__ = {"return": hint}
    assert read(call).output_schema() is None


@pytest.mark.parametrize(
    "name",
    [
        "json",
        "copy",
        "dict",
        "schema",
        "validate",
        "construct",
        "model_dump",
        "model_extra",
        "self_",
        "cls",
        "model_config",
        "model_fields",
    ],
)
def test_a_parameter_may_have_any_name(name: str) -> None:
    """Also one that pydantic's models use for themselves."""
    scope: dict[str, Any] = {}
    exec(f"def call({name}: int, other: str = 'o'): ...", scope)
    assert arguments(scope["call"], {name: "5"}) == {name: 5, "other": "o"}
    assert list(read(scope["call"]).input_schema()["properties"]) == [name, "other"]


def test_a_mutable_default_is_fresh_for_each_call() -> None:
    """One call's changes are not the next one's default."""

    def call(items: list[int] = []): ...  # noqa: B006  # authors do

    handler = read(call)
    handler.arguments(event({}), None, Context())["items"].append(1)
    assert handler.arguments(event({}), None, Context()) == {"items": []}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_any_data_fits_or_is_an_input_error(data: Any) -> None:
    """Whatever arrives, the answer is arguments or a list of misfits, never another error."""

    def call(a: int, b: bytes = b"", c: Order | None = None, **rest: Any): ...

    handler = read(call)
    for each in (data, {"a": data}, {"a": 1, "b": data, "c": data}):
        try:
            handler.arguments(event(each), None, Context())
        except InputError as error:
            assert error.errors  # noqa: PT017  # either answer is right


@given(json_values, st.text(min_size=1), st.none() | st.text())
def test_an_event_survives_its_document(data: Any, id: str, subject: str | None) -> None:
    """Written as JSON and read back, it is the same event."""
    one = Event(id, "/s", "a.b", datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), data, subject, None, {"http.method": "GET"})
    assert Event.from_document(json.loads(json.dumps(one.document()))) == one
