"""How a message is read, by format: what becomes data, what becomes bytes, what is refused and why."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.queues.message import InvalidMessageError, Message
from triggers.queues.reading import Read, in_batch, read

URL = "rabbitmq://main/orders"
STRUCTURED = b'{"specversion":"1.0","id":"7","source":"/shop","type":"order.placed","tenant":"blue","data":{"n":1}}'
BINARY = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.placed", "tenant": "blue"}


def read_it(body: bytes, format: str = "auto", *, takes_blob: bool = False, **more: Any) -> Read:
    return read(Message(body, "id-1", **more), url=URL, format=format, takes_blob=takes_blob)


@pytest.mark.parametrize(
    ("body", "more", "data", "blob"),
    [
        (b'{"n": 1}', {}, {"n": 1}, None),
        (b"[1]", {}, [1], None),
        (b"", {}, None, None),
        (b'{"n": 1}', {"content_type": "application/vnd.shop+json; charset=utf-8"}, {"n": 1}, None),
        (b'{"n": 1}', {"takes_blob": True}, {"n": 1}, None),
        (b"[1]", {"takes_blob": True}, {}, b"[1]"),
        (b"\x89PNG", {"takes_blob": True}, {}, b"\x89PNG"),
        (b'{"n": 1}', {"takes_blob": True, "content_type": "text/plain"}, {}, b'{"n": 1}'),
        (b'{"n": 1}', {"takes_blob": True, "format": "bytes"}, {}, b'{"n": 1}'),
        (b'{"n": 1}', {"content_type": "text/plain", "format": "json"}, {"n": 1}, None),
        (b"", {"fields": {"n": "1"}}, {"n": "1"}, None),
    ],
)
def test_a_body(body: bytes, more: dict[str, Any], data: Any, blob: bytes | None) -> None:
    """JSON becomes data; anything else becomes bytes where the function takes them."""
    found = read_it(body, **more)
    assert (found.event.data, found.blob, found.identity) == (data, blob, "id-1")
    assert (found.event.id, found.event.source, found.event.type) == ("id-1", URL, "oncue.queue")


@pytest.mark.parametrize(
    ("body", "more", "reason"),
    [
        (b"{", {}, "cannot be read as JSON"),
        (b"\xff", {}, "cannot be read as JSON"),
        (b"NaN", {}, "cannot be read as JSON"),
        (b"9" * 400, {}, "does not fit into 64 bits"),
        (b'{"n": 1, "n": 2}', {}, "appears twice"),
        (b"[" * 100_000, {}, "nests deeper than"),
        (b"", {"format": "json"}, "cannot be read as JSON"),
        (b"x", {"content_type": "text/plain"}, "the function takes no bytes"),
        (b"", {"format": "json", "fields": {"n": "1"}}, "no field 'data'"),
        (b"[]", {"format": "cloudevents"}, "an event is a JSON object"),
        (b'{"specversion":"0.3"}', {"format": "cloudevents"}, "/specversion must be 1.0"),
        (STRUCTURED.replace(b'"7"', b'""'), {"format": "cloudevents"}, "/id must be a text that is not empty"),
        (STRUCTURED.replace(b'"tenant"', b'"Tenant"'), {"format": "cloudevents"}, "/Tenant is no name of an attribute"),
        (STRUCTURED.replace(b'"data"', b'"data_base64"'), {"format": "cloudevents"}, "/data_base64 is no base64 text"),
        (STRUCTURED.replace(b'"tenant":"blue"', b'"time":"noon"'), {"format": "cloudevents"}, "/time is no RFC 3339 time"),
        (b"{", {"headers": {f"ce_{name}": value for name, value in BINARY.items()}}, "cannot be read as JSON"),
        (
            b"{}",
            {"headers": {f"ce_{name}": value * 4096 for name, value in BINARY.items()}},
            "attributes have .* at most 16,384",
        ),
    ],
)
def test_a_body_that_is_refused(body: bytes, more: dict[str, Any], reason: str) -> None:
    """The reason says what is wrong with it."""
    with pytest.raises(InvalidMessageError, match=reason.replace("(", r"\(")):
        read_it(body, **more)


@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_", "ce_", "ce-"])
def test_a_binary_cloud_event(prefix: str) -> None:
    """Attributes among the headers, in each transport's spelling, make the event; source and id are its identity."""
    headers = {f"{prefix}{name}": value for name, value in BINARY.items()}
    found = read_it(b'{"n":1}', headers=headers, content_type="application/json")
    event = found.event
    assert (event.id, event.source, event.type, event.data) == ("7", "/shop", "order.placed", {"n": 1})
    assert (event.extensions["tenant"], event.extensions["queue.source"]) == ("blue", URL)
    assert found.identity == "/shop 7"


def test_a_structured_cloud_event() -> None:
    """It is the same event as in binary mode."""
    binary = read_it(b'{"n":1}', headers={f"ce_{name}": value for name, value in BINARY.items()})
    structured = read_it(STRUCTURED, content_type="application/cloudevents+json; charset=utf-8")
    assert structured.identity == binary.identity
    for name in ("id", "source", "type", "data", "subject"):
        assert getattr(structured.event, name) == getattr(binary.event, name)


def test_a_cloud_event_with_bytes() -> None:
    """They become the blob, with their media type."""
    headers = {f"ce_{name}": value for name, value in BINARY.items()}
    binary = read_it(b"\x89PNG", headers=headers, content_type="image/png", takes_blob=True)
    structured = read_it(
        STRUCTURED.replace(b'"data":{"n":1}', b'"datacontenttype":"image/png","data_base64":"iVBORw=="'), "cloudevents"
    )
    assert (binary.blob, structured.blob) == (b"\x89PNG", b"\x89PNG")
    assert binary.event.content_type == structured.event.content_type == "image/png"


def test_headers_beyond_the_bound() -> None:
    """What of the headers does not fit into an event is left out."""
    found = read_it(b"{}", headers={"a": "x", "b": "x" * 20_000, "c": "x"})
    assert found.event.extensions["queue.headers"] == {"a": "x"}


def test_bytes_in_a_batch() -> None:
    """They are base64, with their media type."""
    entry = in_batch(read_it(b"\x00\x01", "bytes", content_type="image/png"))
    assert (entry["id"], entry["data"], entry["content_type"]) == ("id-1", "AAE=", "image/png")


@given(st.binary(max_size=200), st.sampled_from(["auto", "json", "cloudevents", "bytes"]), st.booleans())
def test_any_body_at_all(body: bytes, format: str, takes_blob: bool) -> None:
    """It is read, or refused with a reason; nothing else comes out."""
    try:
        found = read_it(body, format, takes_blob=takes_blob)
    except InvalidMessageError:
        return
    assert msgspec.json.encode(found.event.document())
