"""What decorators refuse; each refusal names the value, the place and the cure."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from runtime import DeclarationError, Hmac, cron, function, http, on, queue

Decorate = Callable[[], Callable[..., Any]]


def refused(decorate: Callable[[], Any]) -> DeclarationError:
    """The error of a declaration; it points at this file's own line."""
    with pytest.raises(DeclarationError) as caught:
        decorate()
    assert caught.value.file == __file__
    assert caught.value.line is not None
    source = inspect.getsourcelines(inspect.getmodule(refused) or refused)[0][caught.value.line - 1]
    assert source.strip()
    return caught.value


@pytest.mark.parametrize(
    ("decorate", "option", "cure"),
    [
        (lambda: function(retrys=3), "retrys", "did you mean 'retries'?"),
        (lambda: function(timout="3s"), "timout", "did you mean 'timeout'?"),
        (lambda: function(timeout_s=3), "timeout_s", "did you mean 'timeout'?"),
        (lambda: function(memory_bytes=3), "memory_bytes", "did you mean 'memory'?"),
        (lambda: function(maxbody="1MB"), "maxbody", "did you mean 'max_body'?"),
        (lambda: function(zzz=1), "zzz", "it takes backoff_factor, backoff_jitter"),
        (lambda: http("POST /a", verfy="github"), "verfy", "did you mean 'verify'?"),
        (lambda: http("POST /a", method="GET"), "method", "it takes confirm, header, respond"),
        (lambda: http("POST /a", path="/b"), "path", "it takes confirm, header, respond"),
        (lambda: http("POST /a", kind="cron"), "kind", "it takes confirm, header, respond"),
        (lambda: cron("@daily", tz="UTC"), "tz", "it takes catch_up, every"),
        (lambda: cron("@daily", time_zone="UTC"), "time_zone", "did you mean 'timezone'?"),
        (lambda: cron(every="5s", every_s=3), "every_s", "did you mean 'every'?"),
        (lambda: on("a", wen={}), "wen", "did you mean 'when'?"),
        (lambda: queue("redis://main/a", grp="x"), "grp", "did you mean 'group'?"),
        (lambda: queue("redis://main/a", url2="http"), "url2", "it takes batch, bind"),
    ],
)
def test_an_unknown_option_suggests_the_nearest(decorate: Decorate, option: str, cure: str) -> None:
    """The option and what was meant; what is no option is not offered either."""
    message = refused(decorate).message
    assert message.startswith(f"unknown option {option!r} for @")
    assert cure in message
    assert "kind," not in message.partition(";")[2]


@pytest.mark.parametrize(
    ("decorate", "value", "cure"),
    [
        (lambda: function(timeout="20 seconds"), "'20 seconds'", "write it like '250ms', '20s'"),
        (lambda: function(timeout=""), "''", "is not a duration"),
        (lambda: function(timeout=-1), "-1", "finite and not negative"),
        (lambda: function(timeout=float("nan")), "nan", "finite and not negative"),
        (lambda: function(timeout=10**400), "000", "finite and not negative"),
        (lambda: function(timeout=0), "timeout=0)", "more than 0"),
        (lambda: function(timeout="2d"), "timeout='2d'", "the most is 86400"),
        (lambda: function(timeout=True), "True", "is not a duration"),
        (lambda: function(timeout=None), "timeout=None", "write a number"),
        (lambda: function(timeout=[1]), "[1]", "is not a duration"),
        (lambda: function(memory="lots"), "'lots'", "write it like '64KB', '512MB'"),
        (lambda: function(memory="5iB"), "'5iB'", "is not a size"),
        (lambda: function(memory="9" * 400 + "GB"), "999", "is not a size"),
        (lambda: function(memory="1MB"), "memory='1MB'", "the least is 64000000"),
        (lambda: function(memory=-5), "-5", "is not a size"),
        (lambda: function(max_body="1GB"), "max_body='1GB'", "the most is 268435456"),
        (lambda: function(retries=-1), "retries=-1", "the least is 0"),
        (lambda: function(retries="many"), "retries='many'", "write a whole number"),
        (lambda: function(queue="My Queue"), "queue='My Queue'", "write it like 'media'"),
        (lambda: function(queue="a\n"), "queue='a\\n'", "write it like 'media'"),
        (lambda: function(secrets=["lower"]), "'lower'", "write it like 'API_KEY'"),
        (lambda: function(backoff_min="2h"), "backoff_min=7200s", "above backoff_max=600s"),
        (lambda: function(backoff_jitter=2), "backoff_jitter=2", "the most is 1"),
        (lambda: function(result_ttl="31d"), "result_ttl='31d'", "the most is 2592000 s"),
        (lambda: function(5), "5", "takes the function's name"),
        (lambda: function({"retries": 1}), "{'retries': 1}", "give options by keyword"),
        (lambda: http("/hooks/a"), "'/hooks/a'", "write it like 'POST /hooks/name'"),
        (lambda: http(None), "None", "write it like 'POST /hooks/name'"),
        (lambda: http("FETCH /a"), "'FETCH'", "use one of GET, POST"),
        (lambda: http("POST hooks"), "'hooks'", "must start with '/'"),
        (lambda: http("POST /" + "a" * 500), "/aaa", "below 500 characters"),
        (lambda: http("POST /a b"), "'a b'", "use letters, digits"),
        (lambda: http("POST /a/../b"), "'..'", "use letters, digits"),
        (lambda: http("POST /a//b"), "segment ''", "use letters, digits"),
        (lambda: http("POST /a/"), "segment ''", "use letters, digits"),
        (lambda: http("POST /x{a}"), "'x{a}'", "one {name}"),
        (lambda: http("POST /{a}/{a}"), "'/{a}/{a}'", "names a parameter twice"),
        (lambda: http("POST /é"), "'é'", "use letters"),
        *(
            (lambda path=path: http(f"GET {path}"), repr(path), "choose another")
            for path in ("/v1", "/v1/x", "/docs", "/ui/a", "/metrics")
        ),
        (lambda: http("POST /a", verify="githb", secret="S"), "'githb'", "use one of standard_webhooks, github"),
        (lambda: http("POST /a", verify="github"), "verify='github'", "needs secret='NAME'"),
        (lambda: http("POST /a", verify=Hmac(header="X-S")), "verify=", "needs secret='NAME'"),
        (lambda: http("POST /a", verify="github", secret=None), "secret=None", "write a list"),
        (lambda: http("POST /a", verify="github", secret=[1]), "=[1]", "write a text"),
        (lambda: http("POST /a", topics=None), "topics=None", "write a list"),
        (lambda: http("POST /a", response=[]), "response=[]", "write a dict"),
        (lambda: http("POST /a", response={"status": "x"}), "'x'", "use 200 to 599"),
        (lambda: http("POST /a", response={"stat": 200}), "'stat'", "an answer has 'status'"),
        (lambda: http("POST /a", response={"body": b"x"}), "b'x'", "JSON's types"),
        (lambda: http("POST /a", response={"headers": {"A": "x\r\nB: y"}}), "'A'", "printable ASCII"),
        (lambda: http("POST /a", response={"headers": ["A"]}), "['A']", "write them like"),
        (lambda: http("POST /a", when={"a": object()}), "<object", "JSON's types"),
        (lambda: on("a", when={"a": {1}}), "{1}", "JSON's types"),
        (lambda: on("a", when={"a": float("nan")}), "nan", "JSON's types"),
        (lambda: http("POST /a", secret="S"), "secret='S'", "like verify='github'"),
        (lambda: http("POST /a", verify="github", secret="low"), "'low'", "write it like 'API_KEY'"),
        (lambda: http("POST /a", verify="github", secret=""), "''", "write it like 'API_KEY'"),
        (lambda: http("POST /a", respond="later"), "respond='later'", "'accepted' or 'result'"),
        (lambda: http("POST /a", tolerance="soon"), "'soon'", "is not a duration"),
        (lambda: on("image uploaded"), "'image uploaded'", "write it like 'image.uploaded'"),
        (lambda: on("image.**"), "'image.**'", "write it like"),
        (lambda: on("a..b"), "'a..b'", "write it like"),
        (lambda: on(5), "type=5", "write a text"),
        (lambda: queue("mysql://main/a"), "'mysql://main/a'", "use one of rabbitmq://, redis://"),
        (lambda: queue("redis://main"), "'redis://main'", "as in redis://main/orders"),
        (lambda: queue("redis:///a"), "'redis:///a'", "as in redis://main/orders"),
        (lambda: queue("rabbitmq://me:secret@host/a"), "rabbitmq://", "belong in the environment"),
        (lambda: queue("redis://host:6379/a"), "redis://", "belong in the environment"),
        (lambda: queue("redis+pubsub://main/a"), "'redis+pubsub://main/a'", "say lossy=True"),
        (lambda: queue("redis://main/a", lossy=True), "does not take lossy", "redis sources take claim_idle"),
        (lambda: queue("redis://main/a", prefetch=5), "does not take prefetch", "redis sources take"),
        (lambda: queue("rabbitmq://main/a", claim_idle="5s"), "does not take claim_idle", "rabbitmq sources take bind"),
        (lambda: queue("kafka://main/a", max_deliveries=5), "does not take max_deliveries", "kafka sources take"),
        (lambda: queue("redis+pubsub://main/a", lossy=True, group="g"), "does not take group", "sources take lossy"),
        (lambda: queue("redis://main/a", batch=0), "batch=0", "the least is 1"),
        (lambda: queue("redis://main/a", format="xml"), "format='xml'", "'auto', 'json'"),
        (lambda: queue(5), "url=5", "write a text"),
    ],
)
def test_a_bad_value_is_named_with_its_cure(decorate: Decorate, value: str, cure: str) -> None:
    """One sentence, with the value as it was written, and what to write instead."""
    message = refused(decorate).message
    assert value in message
    assert cure in message
    assert "\n" not in message
    assert "pydantic" not in message


@pytest.mark.parametrize(
    ("decorate", "value", "cure"),
    [
        (lambda: cron("61 * * * *"), "minute field '61'", "it takes 0–59"),
        (lambda: cron("* 24 * * *"), "hour field '24'", "it takes 0–23"),
        (lambda: cron("* * 0 * *"), "day of month field '0'", "it takes 1–31"),
        (lambda: cron("* * * 13 *"), "month field '13'", "it takes 1–12 or JAN–DEC"),
        (lambda: cron("* * * * 8"), "day of week field '8'", "it takes 0–7 or SUN–SAT"),
        (lambda: cron("*/0 * * * *"), "minute field '*/0'", "step that is not a positive number"),
        (lambda: cron("5-1 * * * *"), "minute field '5-1'", "runs backwards"),
        (lambda: cron("1,x * * * *"), "minute field 'x'", "is not understood"),
        (lambda: cron("0 9 * *"), "has 4 fields", "minute hour day-of-month month day-of-week"),
        (lambda: cron("0 0 9 * * *"), "has 6 fields", "minute hour day-of-month month day-of-week"),
        (lambda: cron("0 0 30 2 *"), "'0 0 30 2 *' can never fire", "day"),
        (lambda: cron("@fortnightly"), "'@fortnightly'", "use one of @hourly"),
        (lambda: cron(""), "has 0 fields", "minute hour"),
        (lambda: cron(), "@cron", "is either an expression"),
        (lambda: cron("@daily", every="5s"), "@cron", "is either an expression"),
        (lambda: cron(5), "expression=5", "write a text"),
        (lambda: cron(every="500ms"), "every=0.5s", "use 1 second to 366 days"),
        (lambda: cron(every="400d"), "is out of range", "use 1 second to 366 days"),
        (lambda: cron(every="often"), "'often'", "is not a duration"),
        (lambda: cron("@daily", timezone="Europe/Pariss"), "'Europe/Pariss'", "use an IANA name"),
        (lambda: cron("@daily", timezone="../../etc/passwd"), "passwd'", "use an IANA name"),
        (lambda: cron("@daily", timezone="Europe"), "'Europe'", "use an IANA name"),
        (lambda: cron("@daily", timezone=""), "''", "use an IANA name"),
        (lambda: cron("@daily", catch_up="some"), "catch_up='some'", "'skip', 'latest' or 'all'"),
        (lambda: cron("@daily", overlap="no"), "overlap='no'", "'allow', 'skip' or 'queue'"),
        (lambda: cron("@daily", max_catch_up=0), "max_catch_up=0", "the least is 1"),
    ],
)
def test_a_bad_schedule_names_the_field(decorate: Decorate, value: str, cure: str) -> None:
    """A schedule that is malformed or can never fire is refused where it is written."""
    message = refused(decorate).message
    assert value in message
    assert cure in message


@pytest.mark.parametrize(
    "thing", [5, "text", print, functools.partial(print), type("C", (), {}), classmethod(lambda c: 1), None]
)
def test_only_plain_functions_are_decorated(thing: Any) -> None:
    """Anything else is refused, with what to write instead."""
    for decorator in (function(retries=1), http("POST /a"), on("a")):
        assert "above a 'def' or an 'async def'" in refused(lambda decorator=decorator: decorator(thing)).message


@pytest.mark.parametrize("decorator", [http, cron, on, queue])
def test_a_trigger_without_its_parentheses(decorator: Any) -> None:
    """What a trigger is for cannot be left out; the message shows how it is written."""

    def f() -> None: ...

    message = refused(lambda: decorator(f)).message
    assert f"write it like @{decorator.__name__}('" in message


def test_two_function_decorators_are_refused() -> None:
    """Options come from one place."""

    @function(retries=1)
    def handler(): ...

    with pytest.raises(DeclarationError, match="'handler' has two @function decorators; merge them"):
        function(retries=2)(handler)
