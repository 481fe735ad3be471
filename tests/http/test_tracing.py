"""tracestate by the rules of W3C Trace Context; test_invoking.py follows it through the front door."""

from __future__ import annotations

import json

import pytest

from triggers.http.tracing import trace_fields

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LONG_STATES = [f"k{n}={'v' * 90}" for n in range(7)]


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        ("foo=1,bar=2, tenant@system=3", "foo=1,bar=2,tenant@system=3"),
        ("foo=1 \t , \t bar=2,\tbaz=3 ", "foo=1,bar=2,baz=3"),
        ("foo=1, ", "foo=1"),
        ("a_-*/0= !#$%&'()*+-./:;<>?@[]^_`{|}~\"\\", "a_-*/0= !#$%&'()*+-./:;<>?@[]^_`{|}~\"\\"),
        (",".join(f"k{n}=1" for n in range(32)), ",".join(f"k{n}=1" for n in range(32))),
        (",".join(f"k{n}=1" for n in range(33)), None),
        ("foo=1,foo=2", None),
        ("foo =1", None),
        ("FOO=1", None),
        ("foo.bar=1", None),
        ("foo@=1,bar=2", None),
        ("foo@bar@baz=1,bar=2", None),
        ("foo", None),
        ("foo=\xe9", None),
        (f"{'z' * 256}=1", f"{'z' * 256}=1"),
        (f"{'z' * 257}=1", None),
        (",".join(LONG_STATES), ",".join(LONG_STATES[:5])),
        (",".join([f"long={'v' * 200}", *LONG_STATES[:5]]), ",".join(LONG_STATES[:5])),
    ],
)
def test_trace_state(given: str, carried: str | None) -> None:
    """Its members are kept in their order; one that breaks a rule drops all, and of too long a one whole members go."""
    fields = trace_fields({b"traceparent": PARENT, b"tracestate": given.encode("latin-1")})
    assert json.loads(fields["trace"]) == {"traceparent": PARENT.decode(), **({"tracestate": carried} if carried else {})}
