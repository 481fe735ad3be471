"""The strict JSON reader, through the front door: whatever bytes arrive, the answer is 2xx or 4xx."""

from __future__ import annotations

import json
import math

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.serving import Web, assert_problem, event_of, function


@pytest.fixture
def anything(web: Web) -> Web:
    """An edge whose one function takes any data."""
    web.deploy(function("anything"))
    return web


def post(web: Web, body: bytes) -> httpx.Response:
    return web.client.post("/v1/functions/anything", content=body, headers={"content-type": "application/json"})


REFUSED = {
    "NaN": b'{"a": NaN}',
    "Infinity": b"[-Infinity]",
    "a number beyond double precision": b"[1e999]",
    "a lone high surrogate": rb'"\ud800 and more"',
    "a lone low surrogate": rb'"\udc00 and more"',
    "a surrogate written in UTF-8": b'"\xed\xa0\x80"',
    "invalid UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32-le"),
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "a name twice": b'{"a": 1, "a": 2}',
    "a name twice, once escaped": rb'{"ab": 1, "a\u0062": 2}',
    "a name twice, deep inside": b'[{"x": {"a": 1, "b": 2, "a": 3}}]',
    "an integer beyond 64 bits": b"[18446744073709551616]",
    "a negative integer beyond 64 bits": b'{"a": -9223372036854775809}',
    "a huge integer": b"1" * 100_000,
    "65 arrays": b"[" * 65 + b"]" * 65,
    "65 objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "a hundred thousand open arrays": b"[" * 100_000,
    "a trailing comma": b"[1,]",
    "two values": b"{} {}",
    "a control character in a string": b'"\x00"',
    "a cut string": b'{"a": "b',
    "blanks only": b"  \n ",
    "single quotes": b"{'a': 1}",
}

TAKEN = {
    "64 arrays": b"[" * 64 + b"]" * 64,
    "many shallow arrays": b"[" + b"[]," * 500 + b"[]]",
    "brackets in strings": b'["' + b"[{" * 200 + b'"]',
    "the largest integers": b'{"a": 18446744073709551615, "b": -9223372036854775808}',
    "many digits in a string": b'{"a": "1234567890123456789012345"}',
    "many digits of a fraction": b"[0.12345678901234567890123]",
    "colons in strings": b'{"a:b": "c:d", "e": "http://x"}',
    "a surrogate pair": rb'"\ud83d\ude00"',
    "the same name in two objects": b'[{"a": 1}, {"a": 2}]',
    "blanks around": b' \r\n\t{"a" : 1 } \n',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_json_that_parsers_disagree_on_is_refused(anything: Web, body: bytes) -> None:
    """Nothing that another parser may read differently gets in, and nothing breaks the server."""
    assert_problem(post(anything, body), 400, "invalid-json")
    assert anything.worker.waiting() == 0


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN.keys())
def test_json_at_the_edge_of_the_rules_is_taken(anything: Web, body: bytes) -> None:
    """What is sound travels on unchanged."""
    assert post(anything, body).status_code == 202
    assert event_of(anything.worker.claim())["data"] == json.loads(body)


def test_many_repeated_names_are_refused_quickly(anything: Web) -> None:
    """A body made of one name again and again costs no more than its length."""
    body = b"{" + b",".join(b'"%d":1' % n for n in range(50_000)) + b',"49999":1}'
    response = post(anything, body)
    assert "'49999'" in assert_problem(response, 400, "invalid-json")["detail"]
    assert response.elapsed.total_seconds() < 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
json_texts = json_values.map(lambda value: json.dumps(value).encode())
damaged = st.tuples(json_texts, st.integers(0, 200), st.binary(max_size=3)).map(lambda t: t[0][: t[1]] + t[2] + t[0][t[1] :])


TOKENS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b"null",
        b"true",
        b'"a"',
        rb'"\u0061"',
        rb'"\ud83d\ude00"',
        rb'"\udc00"',
        b'"\xc3\xa9"',
    ),
    *(b"0", b"-0", b"01", b"1.5e3", b"1e999", b"1e-999", b"NaN", b"-Infinity", b"9223372036854775807", b"-9223372036854775809"),
    *(
        b"18446744073709551615",
        b"18446744073709551616",
        b"\xef\xbb\xbf",
        b"\xff",
        b"'",
        b'{"a":',
        b'{"a":1,"a":2}',
        b"[" * 40,
        b"]" * 40,
    ),
)
soup = st.lists(st.sampled_from(TOKENS), min_size=1, max_size=12).map(b"".join)


def is_sound(body: bytes) -> bool:
    """Judge a body by the rules of HTTP.md, with nothing but Python's own parser."""

    def refuse(_: object) -> None:
        raise ValueError

    def integer(digits: str) -> int:
        return int(digits) if len(digits) <= 20 and -(2**63) <= int(digits) < 2**64 else refuse(digits) or 0

    def number(digits: str) -> float:
        return float(digits) if math.isfinite(float(digits)) else refuse(digits) or 0

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        return dict(pairs) if len(dict(pairs)) == len(pairs) else refuse(pairs) or {}

    try:
        value = json.loads(
            body.decode(), object_pairs_hook=unique, parse_int=integer, parse_float=number, parse_constant=refuse
        )
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate cannot be encoded
    except (ValueError, RecursionError):
        return False
    return depth(value) <= 64


def depth(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth, inside), default=0)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(min_size=1, max_size=300) | json_texts | damaged | soup)
def test_whatever_bytes_arrive_the_answer_is_2xx_or_4xx(anything: Web, body: bytes) -> None:
    """No body is a server error: what is sound is taken and means the same to Python's own parser, and all else is 400."""
    response = post(anything, body)
    assert response.status_code == (202 if is_sound(body) else 400), response.text
    if response.status_code == 202:
        event = event_of(anything.worker.claim())
        assert json.dumps(event["data"], allow_nan=False).encode()
        assert repr(event["data"]) == repr(json.loads(body))
