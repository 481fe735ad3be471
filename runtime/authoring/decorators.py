"""The decorators. Each attaches a declaration and returns the very callable it was given."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from runtime.authoring import misfits
from runtime.authoring.declared import When
from runtime.authoring.errors import DeclarationError
from runtime.authoring.options import AUTHOR_UNITS, FunctionOptions
from runtime.authoring.routes import Hmac
from runtime.authoring.triggers import CronTrigger, EventTrigger, HttpTrigger, QueueTrigger

F = TypeVar("F", bound=Callable[..., Any])
Duration = str | float | timedelta
#: Exceptions by class or by name, one or several.
Exceptions = str | type[BaseException] | Sequence[str | type[BaseException]]

#: The attribute that holds a callable's declaration.
ATTRIBUTE = "__oncue__"


@dataclass(slots=True)
class Declaration:
    """What the decorators of one callable said, in the order in which they ran."""

    file: str
    line: int
    name: str | None = None
    options: FunctionOptions | None = None
    triggers: list[HttpTrigger | CronTrigger | EventTrigger | QueueTrigger] = field(default_factory=list)


def function(
    name: str | None = None,
    *,
    retries: int = ...,  # type: ignore[assignment]  # `...` stands for "not said": FunctionOptions has the defaults
    backoff_min: Duration = ...,  # type: ignore[assignment]  # as above, and so on
    backoff_max: Duration = ...,  # type: ignore[assignment]
    backoff_factor: float = ...,  # type: ignore[assignment]
    backoff_jitter: float = ...,  # type: ignore[assignment]
    retry_on: Exceptions = ...,  # type: ignore[assignment]
    give_up_on: Exceptions = ...,  # type: ignore[assignment]
    timeout: Duration = ...,  # type: ignore[assignment]
    memory: str | int = ...,  # type: ignore[assignment]
    queue: str = ...,  # type: ignore[assignment]
    cache: Duration = ...,  # type: ignore[assignment]
    result_ttl: Duration = ...,  # type: ignore[assignment]
    max_body: str | int = ...,  # type: ignore[assignment]
    secrets: str | Sequence[str] = ...,  # type: ignore[assignment]
    optional_secrets: Mapping[str, str] = ...,  # type: ignore[assignment]
    **unknown: Any,
) -> Callable[[F], F]:
    """Make a callable a function, and say how it runs; `FunctionOptions` tells every default.

    Durations are written "20s" or "1h30m", sizes "512MB". Works bare, too: `@function`.

    Raises:
        DeclarationError: an option is unknown (the nearest one is suggested) or its value cannot be used.
    """
    if callable(name):  # written without parentheses
        return function()(name)
    said = {key: value for key, value in locals().items() if key not in ("name", "unknown") and value is not ...}
    if name is not None and (not isinstance(name, str) or not name):
        raise DeclarationError(f"@function takes the function's name, not {name!r}; give options by keyword", **_caller())
    options = _build(FunctionOptions, "@function", said, unknown)

    def attach(handler: F) -> F:
        declaration = _declaration(handler, "@function")
        if declaration.options is not None:
            raise DeclarationError(f"{handler.__name__!r} has two @function decorators; merge them", **_place(handler))
        declaration.options, declaration.name = options, name
        return handler

    return attach


def http(
    route: str,
    *,
    verify: str | Hmac | None = None,
    secret: str | Sequence[str] = (),
    tolerance: Duration = 300,
    when: When | None = None,
    respond: Literal["accepted", "result"] = "accepted",
    response: Mapping[str, Any] | None = None,
    topics: Sequence[str] = (),
    confirm: bool = False,
    header: str | None = None,
    **unknown: Any,
) -> Callable[[F], F]:
    """Run the function for requests to a route of its own: `@http("POST /hooks/thumbnail")`.

    `{name}` segments of the path fill the parameters of that name. `verify` names the signature scheme of
    the sender, `secret` the secrets that may have signed.
    """
    _check_called(route, "@http('POST /hooks/name')")
    method, space, path = route.strip().partition(" ") if isinstance(route, str) else ("", "", "")
    if not space:
        raise DeclarationError(f"@http takes 'METHOD /path', not {route!r}; write it like 'POST /hooks/name'", **_caller())
    said = {
        "verify": verify,
        "secret": secret,
        "tolerance": tolerance,
        "when": when,
        "respond": respond,
        "response": response,
        "topics": topics,
        "confirm": confirm,
        "header": header,
    }
    return _attach(_build(HttpTrigger, "@http", said, unknown, method=method.upper(), path=path.strip()))


def cron(
    expression: str | None = None,
    *,
    every: Duration | None = None,
    timezone: str = "UTC",
    catch_up: Literal["skip", "latest", "all"] = "skip",
    max_catch_up: int = 100,
    overlap: Literal["allow", "skip", "queue"] = "allow",
    jitter: Duration = 0,
    **unknown: Any,
) -> Callable[[F], F]:
    """Run the function on a schedule: five Vixie fields, an alias like "@daily", or `every="30s"`."""
    _check_called(expression, "@cron('0 9 * * MON-FRI')")
    said: dict[str, Any] = {
        "timezone": timezone,
        "catch_up": catch_up,
        "max_catch_up": max_catch_up,
        "overlap": overlap,
        "jitter": jitter,
    }
    if every is not None:
        said["every"] = every
    return _attach(_build(CronTrigger, "@cron", said, unknown, expression=expression))


def on(type: str, *, when: When | None = None, **unknown: Any) -> Callable[[F], F]:
    """Run the function for events of a type: `@on("image.uploaded")`; `@on("image.*")` takes a family."""
    _check_called(type, "@on('image.uploaded')")
    return _attach(_build(EventTrigger, "@on", {"when": when}, unknown, type=type))


def queue(url: str, **options: Any) -> Callable[[F], F]:
    """Run the function for messages of a queue: `@queue("rabbitmq://main/orders", prefetch=20)`.

    `QueueTrigger` tells the options; a connection is named here and configured in the environment.
    """
    _check_called(url, "@queue('rabbitmq://main/orders')")
    return _attach(_build(QueueTrigger, "@queue", {}, options, url=url))


def _check_called(first: object, example: str) -> None:
    if callable(first):
        raise DeclarationError(f"{example.partition('(')[0]} lacks what it is for; write it like {example}", **_caller())


M = TypeVar("M", bound=BaseModel)

#: Fields that are no options: the decorator's first argument tells them, or the decorator itself does.
_FIXED = frozenset(("kind", "method", "path", "type", "url", "expression"))


def _build(model: type[M], decorator: str, said: Mapping[str, Any], more: Mapping[str, Any], **fixed: Any) -> M:
    """Make the checked value, or say in one sentence what is wrong and how to mend it."""
    values: dict[str, Any] = fixed
    for key, value in (*said.items(), *more.items()):
        field_name, read = AUTHOR_UNITS.get(key, (key, None))
        if (
            key in _FIXED
            or field_name not in model.model_fields
            or (key not in AUTHOR_UNITS and key.endswith(("_s", "_bytes")))
        ):
            raise DeclarationError(_unknown_option(decorator, key, model), **_caller())
        try:
            values[field_name] = value if read is None or value is None else read(value)
        except ValueError as error:
            raise DeclarationError(f"{decorator}({key}=…): {error}", **_caller()) from error
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        written = {name: key for key, (name, _) in AUTHOR_UNITS.items()}
        place = str(first["loc"][0]) if first["loc"] else ""
        option = written.get(place, place)
        unit = " s" if place.endswith("_s") else " bytes" if place.endswith("_bytes") else ""
        # As it was written: "2d", not 172800 s.
        value = {**said, **more}.get(option, first["input"])
        at = f"({option}={value!r})" if option else ""
        raise DeclarationError(f"{decorator}{at}: {misfits.cure(first, unit)}", **_caller()) from error


def _unknown_option(decorator: str, key: str, model: type[BaseModel]) -> str:
    written = {name: key for key, (name, _) in AUTHOR_UNITS.items()}
    known = sorted({written.get(name, name) for name in model.model_fields} - _FIXED)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    cure = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
    return f"unknown option {key!r} for {decorator}; {cure}"


def _attach(trigger: Any) -> Callable[[F], F]:
    def attach(handler: F) -> F:
        _declaration(handler, f"@{'on' if trigger.kind == 'event' else trigger.kind}").triggers.append(trigger)
        return handler

    return attach


def _declaration(handler: Any, decorator: str) -> Declaration:
    if not inspect.isfunction(handler):
        raise DeclarationError(
            f"{decorator} decorates a plain function, not {handler!r}; write it above a 'def' or an 'async def'", **_caller()
        )
    declaration = getattr(handler, ATTRIBUTE, None)
    # functools.wraps copies attributes, so a wrapper shares the declaration of what it wraps.
    if declaration is None:
        declaration = Declaration(**_place(handler))
        setattr(handler, ATTRIBUTE, declaration)
    return declaration


def _place(handler: Callable[..., Any]) -> dict[str, Any]:
    code = handler.__code__
    return {"file": code.co_filename, "line": code.co_firstlineno}


def _caller() -> dict[str, Any]:
    """File and line of the first frame outside this module: the author's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return {"file": frame.f_code.co_filename, "line": frame.f_lineno}
