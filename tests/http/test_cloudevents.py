"""CloudEvents: all three modes by the published package and by hand, at `/v1/events` and at declared routes."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.authoring.triggers import EventTrigger, HttpTrigger
from tests.http.serving import Web, assert_problem, event_of, function
from triggers.cloudevents import Received
from triggers.http.answers import ProblemError
from triggers.http.cloudevents import MAX_BATCH, mode_of, read_events

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
BASE = {"specversion": "1.0", "id": "1", "source": "/camera", "type": "image.uploaded"}
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/camera", "ce-type": "image.uploaded"}
TEXT = {"type": "string"}


def read(headers: dict[str, str], body: bytes | Any = b"") -> list[Received]:
    """Read a request as the edge does."""
    own = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    mode = mode_of(dict(own))
    assert mode is not None
    return read_events(mode, dict(own), own, body if isinstance(body, bytes) else json.dumps(body).encode())


def structured(content_type: str = STRUCTURED, **changes: Any) -> Received:
    (received,) = read({"content-type": content_type}, {**BASE, **changes})
    return received


def wrong(headers: dict[str, str], body: bytes | Any = b"") -> list[str]:
    """The pointers to what is wrong."""
    with pytest.raises(ProblemError) as problem:
        read(headers, body)
    assert (problem.value.status, problem.value.code) == (400, "invalid-event")
    return [error["pointer"] for error in problem.value.errors]


def wrong_json(**changes: Any) -> list[str]:
    return wrong({"content-type": STRUCTURED}, {**BASE, **changes})


class TestReading:
    """The parser alone."""

    def test_structured(self) -> None:
        """Attributes, extensions of each type, and data are read; what is null is absent."""
        event = structured(
            subject="cat.jpg",
            time="2026-01-31T10:00:00.5+01:00",
            dataschema="urn:x:y",
            ext1="a",
            flag=True,
            count=-7,
            gone=None,
            data=[1],
        ).event
        assert (event.id, event.source, event.type, event.subject, event.data) == (
            "1",
            "/camera",
            "image.uploaded",
            "cat.jpg",
            [1],
        )
        assert event.time == datetime(2026, 1, 31, 9, 0, 0, 500_000, UTC)
        assert event.extensions == {"dataschema": "urn:x:y", "ext1": "a", "flag": True, "count": -7}

    @pytest.mark.parametrize(
        "content_type",
        [
            "Application/CloudEvents+JSON",
            "application/cloudevents+json; charset=UTF-8",
            "application/cloudevents",
            " application/cloudevents+json ",
        ],
    )
    def test_spellings_of_the_media_type(self, content_type: str) -> None:
        """Case and parameters do not matter."""
        assert structured(content_type).event.id == "1"

    def test_batch_before_structured(self) -> None:
        """`application/cloudevents-batch` begins as the other does, and is another."""
        events = read({"content-type": "application/CloudEvents-BATCH+json"}, [BASE, {**BASE, "id": "2"}])
        assert [each.event.id for each in events] == ["1", "2"]
        assert read({"content-type": BATCH}, b"[]") == []

    def test_binary(self) -> None:
        """Headers are attributes, quoted and percent-encoded ones decoded once; the body is the data."""
        (received,) = read(
            {
                **BINARY,
                "ce-subject": '"a\\"b%20c"',
                "ce-ext": "Euro%20%E2%82%AC%2520",
                "content-type": "application/json; charset=utf-8",
            },
            b'{"a": 1}',
        )
        assert received.event.data == {"a": 1}
        assert (received.event.subject, received.event.extensions["ext"]) == ('a"b c', "Euro €%20")
        (received,) = read({**BINARY, "content-type": "image/png"}, b"\x89PNG")
        assert (received.blob, received.event.content_type, received.event.data) == (b"\x89PNG", "image/png", None)

    def test_data_as_bytes(self) -> None:
        """base64 is bytes, unless its type is JSON; text of another type is bytes as it would be in binary mode."""
        encoded = base64.b64encode(b"\x00\x01").decode()
        received = structured(data_base64=encoded, datacontenttype="image/png")
        assert (received.blob, received.event.content_type) == (b"\x00\x01", "image/png")
        assert structured(data_base64=base64.b64encode(b'{"a":1}').decode(), datacontenttype="application/json").event.data == {
            "a": 1
        }
        assert structured(data="<a/>", datacontenttype="text/xml").blob == b"<a/>"
        assert structured(data="text").event.data == "text"
        assert structured(data=None, data_base64=encoded).blob == b"\x00\x01"
        assert structured(data={"a": None}, data_base64=None).event.data == {"a": None}

    @pytest.mark.parametrize(
        ("changes", "pointers"),
        [
            ({"id": None}, ["/id"]),
            ({"id": ""}, ["/id"]),
            ({"id": 1}, ["/id"]),
            ({"specversion": "0.3"}, ["/specversion"]),
            ({"specversion": 1.0}, ["/specversion"]),
            ({"type": "", "source": ""}, ["/source", "/type"]),
            ({"source": "not a uri"}, ["/source"]),
            ({"source": "/%zz"}, ["/source"]),
            ({"time": "2026-01-31"}, ["/time"]),
            ({"time": "2026-02-30T00:00:00Z"}, ["/time"]),
            ({"time": "2026-01-31T00:00:00"}, ["/time"]),
            ({"subject": ""}, ["/subject"]),
            ({"dataschema": "relative"}, ["/dataschema"]),
            ({"datacontenttype": "json"}, ["/datacontenttype"]),
            ({"my-ext": "x"}, ["/my-ext"]),
            ({"a/b~c": "x"}, ["/a~1b~0c"]),
            ({"Ext": "x"}, ["/Ext"]),
            ({"été": "x"}, ["/été"]),
            ({"ext": 1.5}, ["/ext"]),
            ({"ext": 2**31}, ["/ext"]),
            ({"ext": {}}, ["/ext"]),
            ({"ext": "a\u0007"}, ["/ext"]),
            ({"data": 1, "data_base64": "AA=="}, ["/data_base64"]),
            ({"data_base64": "%"}, ["/data_base64"]),
            ({"data_base64": 1}, ["/data_base64"]),
            ({"data_base64": base64.b64encode(b"{").decode(), "datacontenttype": "application/json"}, ["/data_base64"]),
        ],
    )
    def test_invalid_attributes(self, changes: dict[str, Any], pointers: list[str]) -> None:
        """Each attribute that breaks a rule is pointed at."""
        assert sorted(wrong_json(**changes)) == pointers

    @pytest.mark.parametrize(
        ("headers", "pointers"),
        [
            ({"ce-id": "1"}, ["/source", "/specversion", "/type"]),
            ({**BINARY, "ce-my-ext": "x"}, ["/my-ext"]),
            ({**BINARY, "ce-data": "x"}, ["/data"]),
            ({**BINARY, "ce-datacontenttype": "text/plain"}, ["/datacontenttype"]),
            ({**BINARY, "ce-ext": "%ff"}, ["/ext"]),
            ({**BINARY, "ce-ext": "%07"}, ["/ext"]),
        ],
    )
    def test_invalid_headers(self, headers: dict[str, str], pointers: list[str]) -> None:
        """Binary mode has the same rules, and some of its own."""
        assert sorted(wrong(headers)) == pointers

    def test_attribute_given_twice(self) -> None:
        """Of two values every reader might take another."""
        given = [(name.encode(), value.encode()) for name, value in BINARY.items()] + [(b"ce-id", b"2")]
        with pytest.raises(ProblemError) as problem:
            read_events("binary", dict(given), given, b"")
        assert problem.value.errors == [{"pointer": "/id", "message": "is given twice"}]

    def test_leap_second(self) -> None:
        """RFC 3339 has it, and Python has not: the second before is taken."""
        assert structured(time="2016-12-31t23:59:60z").event.time == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)

    def test_batch_names_every_item_that_is_wrong(self) -> None:
        """Errors carry the index of their event."""
        assert wrong({"content-type": BATCH}, [BASE, {**BASE, "id": ""}, 5]) == ["/1/id", "/2"]
        with pytest.raises(ProblemError, match="JSON array"):
            read({"content-type": BATCH}, BASE)
        with pytest.raises(ProblemError) as problem:
            read({"content-type": BATCH}, [BASE] * (MAX_BATCH + 1))
        assert problem.value.status == 413

    @pytest.mark.parametrize("content_type", ["application/cloudevents+xml", "application/cloudevents+json; charset=utf-16"])
    def test_other_formats(self, content_type: str) -> None:
        """What is not JSON in UTF-8 is 415."""
        with pytest.raises(ProblemError) as problem:
            read({"content-type": content_type}, BASE)
        assert problem.value.status == 415

    @settings(max_examples=300, deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from([*BASE, "data", "time", "datacontenttype", "x"]), inner)
            ),
        ),
        st.sampled_from([STRUCTURED, BATCH]),
    )
    def test_whatever_json_arrives(self, document: Any, content_type: str) -> None:
        """It is read, or refused; nothing else happens."""
        status = 200
        try:
            read({"content-type": content_type}, document)
        except ProblemError as problem:
            status = problem.status
        assert status in (200, 400)


def subscribed(web: Web) -> Web:
    """An edge with two subscribers, one of them choosy."""
    web.deploy(
        function("thumb", triggers=(EventTrigger(type="image.*"),)),
        function("cats", triggers=(EventTrigger(type="image.uploaded", when={"kind": "cat"}),)),
    )
    return web


@pytest.mark.parametrize("to_http", [to_binary, to_structured])
def test_sender_by_the_published_package(web: Web, to_http: Any) -> None:
    """What the package sends is published, in both its modes; a repeat of source and id is a duplicate."""
    subscribed(web)
    sent = CloudEvent(
        attributes={**BASE, "subject": "Zoë & co", "time": datetime(2026, 1, 31, tzinfo=UTC), "ext": "a b"},
        data={"kind": "dog"},
    )
    message = to_http(sent, JSONFormat())
    responses = [web.client.post("/v1/events", headers=message.headers, content=message.body) for _ in range(2)]
    assert [response.status_code for response in responses] == [202, 202]
    first, second = (response.json() for response in responses)
    assert (first["accepted"], first["duplicates"], second["accepted"], second["duplicates"]) == (1, 0, 0, 1)
    (event,) = first["events"]
    assert (event["id"], event["source"], event["subscribers"]) == ("1", "/camera", ["thumb"])
    seen = web.client.get(event["href"]).json()
    assert (seen["event"]["subject"], seen["event"]["data"], seen["event"]["extensions"]["ext"]) == (
        "Zoë & co",
        {"kind": "dog"},
        "a b",
    )
    answers = {answer["function"]: answer for answer in seen["answers"]}
    assert answers["thumb"]["matched"] is True
    assert answers["cats"]["matched"] is False
    assert "kind" in answers["cats"]["why"]


def test_batch_is_published_whole_or_not_at_all(web: Web) -> None:
    """One invalid event refuses all; a good batch counts its own repeats."""
    subscribed(web)
    bad = [BASE, {**BASE, "id": "2", "time": "now"}]
    problem = assert_problem(web.client.post("/v1/events", json=bad, headers={"content-type": BATCH}), 400, "invalid-event")
    assert problem["errors"][0]["pointer"] == "/1/time"
    assert web.client.get("/v1/events").json()["events"] == []
    good = [BASE, {**BASE, "id": "2"}, BASE]
    answer = web.client.post("/v1/events", json=good, headers={"content-type": BATCH}).json()
    assert (answer["accepted"], answer["duplicates"]) == (2, 1)
    assert {each["event"]["id"] for each in web.client.get("/v1/events").json()["events"]} == {"1", "2"}
    too_many = [{**BASE, "id": str(n)} for n in range(MAX_BATCH + 1)]
    assert_problem(web.client.post("/v1/events", json=too_many, headers={"content-type": BATCH}), 413, "batch-too-large")


def test_event_that_nobody_wants(web: Web) -> None:
    """It is accepted, for nobody; what is no CloudEvent is refused."""
    web.deploy(function("any"))
    answer = web.client.post("/v1/events", json=BASE, headers={"content-type": STRUCTURED})
    assert (answer.status_code, answer.json()["events"][0]["subscribers"]) == (202, [])
    assert_problem(web.client.post("/v1/events", json=BASE), 415, "unsupported-media-type")
    assert_problem(web.client.get("/v1/events/nonsense"), 404, "unknown-event")
    assert web.client.delete("/v1/events").headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_page_of_events(web: Web) -> None:
    """The newest come first, and a cursor leads on."""
    web.deploy(function("any"))
    for number in range(3):
        web.client.post("/v1/events", json={**BASE, "id": str(number)}, headers={"content-type": STRUCTURED})
    first = web.client.get("/v1/events?limit=1")
    assert first.json()["events"][0]["event"]["id"] == "2"
    assert f"cursor={first.json()['next']}" in first.headers["link"]
    assert_problem(web.client.get("/v1/events?cursor=x"), 400, "invalid-query")
    assert_problem(web.client.get("/v1/events?colour=red"), 400, "invalid-query")


def test_sender_that_asks_whether_it_may_send(web: Web) -> None:
    """OPTIONS is consented to at `/v1/events` and at routes that take CloudEvents, and at no other."""
    web.deploy(
        function(
            "hooked",
            triggers=(HttpTrigger(method="POST", path="/ce", verify="cloudevents"), HttpTrigger(method="POST", path="/plain")),
        )
    )
    asked = {"webhook-request-origin": "eventemitter.example.com", "webhook-request-rate": "120"}
    for path in ("/v1/events", "/ce"):
        answer = web.client.options(path, headers=asked)
        assert answer.status_code == 200
        assert answer.headers["webhook-allowed-origin"] == "eventemitter.example.com"
        assert answer.headers["webhook-allowed-rate"] == "120"
        assert "POST" in answer.headers["allow"]
    assert "webhook-allowed-origin" not in web.client.options("/ce").headers
    assert_problem(web.client.options("/plain", headers=asked), 405, "method-not-allowed")


def test_events_at_a_declared_route(web: Web) -> None:
    """A CloudEvent is the event that the handler gets, with the facts of its request; its source and id tell repeats."""
    web.deploy(
        function(
            "hooked",
            {"kind": TEXT},
            triggers=(HttpTrigger(method="POST", path="/in"), HttpTrigger(method="POST", path="/ce", verify="cloudevents")),
        )
    )
    body = {**BASE, "subject": "s", "ext": 1, "data": {"kind": "cat"}}
    for path in ("/in", "/ce"):
        first = web.client.post(path, json=body, headers={"content-type": STRUCTURED})
        again = web.client.post(path, json=body, headers={"content-type": STRUCTURED})
        assert (first.status_code, again.status_code, again.json()["duplicate"]) == (202, 200, True)
        event = event_of(web.worker.claim())
        assert (event["id"], event["source"], event["type"], event["subject"], event["data"]) == (
            "1",
            "/camera",
            "image.uploaded",
            "s",
            {"kind": "cat"},
        )
        assert (event["extensions"]["ext"], event["extensions"]["http.path"]) == (1, path)
    assert_problem(web.client.post("/ce", json=body), 415, "unsupported-media-type")
    assert_problem(
        web.client.post("/ce", json={**body, "data": {"kind": 1}, "id": "9"}, headers={"content-type": STRUCTURED}),
        400,
        "invalid-data",
    )


def test_batch_at_a_declared_route(web: Web) -> None:
    """Each event is an invocation; one that misfits refuses all, and says where."""
    trigger = HttpTrigger(method="POST", path="/in", when={"skip": None})
    web.deploy(function("hooked", {"kind": TEXT}, triggers=(trigger,)))
    batch = [{**BASE, "id": str(number), "data": {"kind": "cat"}} for number in range(3)] + [
        {**BASE, "id": "x", "data": {"skip": 1}}
    ]
    misfit = [*batch, {**BASE, "id": "y", "data": {"kind": 5}}]
    problem = assert_problem(web.client.post("/in", json=misfit, headers={"content-type": BATCH}), 400, "invalid-data")
    assert problem["errors"][0]["pointer"] == "/3/data/kind"
    assert web.worker.waiting() == 0
    answer = web.client.post("/in", json=batch, headers={"content-type": BATCH})
    document = answer.json()
    assert (answer.status_code, document["accepted"], document["duplicates"], document["ignored"]) == (202, 3, 0, 1)
    assert sorted(event_of(web.worker.claim())["id"] for _ in range(3)) == ["0", "1", "2"]
    assert web.client.post("/in", json=batch, headers={"content-type": BATCH}).json()["duplicates"] == 3


def test_bytes_of_an_event_at_a_declared_route(web: Web) -> None:
    """They fill the bytes parameter; a function without one refuses them."""
    web.deploy(
        function(
            "image",
            {"image": TEXT},
            required=("image",),
            blob_parameter="image",
            triggers=(HttpTrigger(method="POST", path="/image"),),
        ),
        function("plain", {"kind": TEXT}, triggers=(HttpTrigger(method="POST", path="/plain"),)),
    )
    headers = {**BINARY, "content-type": "image/png"}
    assert web.client.post("/image", content=b"\x89PNG", headers=headers).status_code == 202
    claim = web.worker.claim()
    assert (claim.blob, event_of(claim)["content_type"]) == (b"\x89PNG", "image/png")
    assert_problem(web.client.post("/plain", content=b"\x89PNG", headers=headers), 415, "unsupported-media-type")
