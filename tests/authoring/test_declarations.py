"""What decorators accept and attach."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from runtime import cron, function, http, on, queue
from runtime.authoring.decorators import ATTRIBUTE, Declaration
from runtime.authoring.triggers import CronTrigger, EventTrigger, HttpTrigger, QueueTrigger, is_event_type


def declared(decorator: Callable[..., Any]) -> Declaration:
    """What a decorator attaches to a plain function."""

    def handler(): ...

    assert decorator(handler) is handler
    declaration: Declaration = getattr(handler, ATTRIBUTE)
    return declaration


DECORATORS = (function(retries=7), http("POST /hooks/a"), cron("@daily"), on("a.*"), queue("redis://main/a"))


@pytest.mark.parametrize("order", list(itertools.permutations(range(5)))[::7])
def test_decorators_stack_in_any_order(order: tuple[int, ...]) -> None:
    """Each returns the callable it got, which stays a plain function, and all are kept."""

    def handler(x: int = 1) -> int:
        return x + 1

    decorated: Any = handler
    for n in order:
        decorated = DECORATORS[n](decorated)
    assert decorated is handler
    assert decorated(2) == 3
    declaration: Declaration = getattr(handler, ATTRIBUTE)
    assert declaration.options is not None
    assert declaration.options.retries == 7
    assert {trigger.kind for trigger in declaration.triggers} == {"http", "cron", "event", "queue"}


def test_function_works_bare_named_and_called() -> None:
    """`@function`, `@function()` and `@function("name")` are all understood."""
    assert declared(function).options == declared(function()).options
    assert declared(function("other")).name == "other"
    assert declared(function).name is None


def test_many_triggers_of_one_kind_are_kept() -> None:
    """A function may have any number of routes, schedules and subscriptions."""

    @http("POST /a")
    @http("PUT /b")
    @on("x")
    @on("y")
    def handler(): ...

    assert len(getattr(handler, ATTRIBUTE).triggers) == 4


def test_options_are_read_with_their_units() -> None:
    """Texts, numbers and timedeltas mean the same."""
    declaration = declared(function(timeout="1m30s", memory="1GiB", cache=timedelta(hours=1), backoff_min=0.5, max_body="64KB"))
    assert declaration.options is not None
    options = declaration.options
    assert (options.timeout_s, options.memory_bytes, options.cache_s) == (90, 2**30, 3600)
    assert (options.backoff_min_s, options.max_body_bytes) == (0.5, 64_000)


def test_triggers_are_read_whole() -> None:
    """What the author wrote is in the trigger, with defaults for the rest."""
    route, schedule, event, source = (
        declared(decorator).triggers[0]
        for decorator in (
            http(
                "post  /a/{b}/c.json",
                verify="github",
                secret=["NEW", "OLD"],
                tolerance="1m",
                when={"x": [1, 2]},
                respond="result",
            ),
            cron(every="30s", timezone="Europe/Paris", catch_up="all", overlap="skip", jitter="5s"),
            on("image.*", when={"size": 1}),
            queue("redis://main/orders", group="thumbs", claim_idle="60s", max_deliveries=5, window="1s", batch=10),
        )
    )
    assert isinstance(route, HttpTrigger)
    assert (route.method, route.path, route.secret, route.tolerance_s) == ("POST", "/a/{b}/c.json", ("NEW", "OLD"), 60)
    assert isinstance(schedule, CronTrigger)
    assert (schedule.every_s, schedule.expression, schedule.jitter_s) == (30, None, 5)
    assert isinstance(event, EventTrigger)
    assert (event.type, event.when) == ("image.*", {"size": 1})
    assert isinstance(source, QueueTrigger)
    assert (source.scheme, source.claim_idle_s, source.window_s, source.batch) == ("redis", 60, 1, 10)


def test_a_wrapper_shares_the_declaration_of_what_it_wraps() -> None:
    """Decorators above and below functools.wraps add to one declaration."""

    @on("below")
    def inner(): ...

    @http("POST /above")
    @functools.wraps(inner)
    def outer(): ...

    assert getattr(outer, ATTRIBUTE) is getattr(inner, ATTRIBUTE)
    assert len(getattr(outer, ATTRIBUTE).triggers) == 2


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("@daily", "0 0 * * *"),
        (" @Weekly ", "0 0 * * 0"),
        ("0  9 *  * MON-FRI", "0 9 * * MON-FRI"),
        ("*/5 0-23/2 1,15 jan-mar sun", "*/5 0-23/2 1,15 jan-mar sun"),
        ("0 0 L * *", "0 0 L * *"),
        ("0 0 * * MON#1", "0 0 * * MON#1"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 30 2 MON", "0 0 30 2 MON"),
        ("0 0 * * 7", "0 0 * * 7"),
    ],
)
def test_a_good_schedule_is_kept(written: str, kept: str) -> None:
    """Aliases are resolved, spaces tidied, and Vixie's whole grammar is understood."""
    (trigger,) = declared(cron(written)).triggers
    assert isinstance(trigger, CronTrigger)
    assert trigger.expression == kept


def test_exceptions_by_class_and_by_name() -> None:
    """An author may give the classes, and one alone; names are kept."""

    @function(retry_on=TimeoutError, give_up_on=(KeyError, "TheirError"), secrets="API_KEY")
    def f() -> None: ...

    options = getattr(f, ATTRIBUTE).options
    assert (options.retry_on, options.give_up_on) == (("TimeoutError",), ("KeyError", "TheirError"))
    assert options.secrets == ("API_KEY",)


def test_event_types_are_dotted_names() -> None:
    """What can be emitted has no wildcard."""
    assert is_event_type("image.uploaded-2_x")
    for wrong in ("", "a.*", "a..b", ".a", "a b", "a\n"):
        assert not is_event_type(wrong)
