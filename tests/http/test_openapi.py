"""The OpenAPI document: complete, valid, stable, and fit for those who generate clients of it (test_conformance.py: true)."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest

from runtime.authoring.triggers import HttpTrigger
from tests.http.serving import Web, function

TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 1}
BLOB = {"type": "string", "contentEncoding": "base64"}
SIZE = {"type": "object", "properties": {"width": COUNT, "height": COUNT}, "required": ["width"]}


@pytest.fixture
def described(web: Web) -> Web:
    """An edge with functions of several shapes, and a worker that lets some succeed and some fail."""
    web.deploy(
        function(
            "greet",
            {"name": TEXT, "times": COUNT, "note": {**TEXT, "default": None}},
            required=("name",),
            output_schema=TEXT,
            summary="Greet somebody",
        ),
        function("anything"),
        function(
            "scale",
            {"image": BLOB, "size": {"$ref": "#/$defs/Size"}, "note": TEXT},
            required=("image",),
            blob_parameter="image",
            triggers=(HttpTrigger(method="POST", path="/hooks/{note}/scale"),),
        ),
    )
    manifest = web.edge._served.targets["scale"].manifest
    manifest.input_schema["$defs"] = {"Size": SIZE}
    return web


@pytest.fixture
def document(described: Web) -> dict[str, Any]:
    """The document as it is served."""
    found: dict[str, Any] = described.client.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in {**document["paths"], **document["webhooks"]}.items()
        for method, operation in methods.items()
    ]


def test_every_route_is_described(described: Web, document: dict[str, Any]) -> None:
    """Whatever the edge routes is in the document: a new route cannot be forgotten."""
    routed = {(method, route.path) for route in described.edge.routes for method in route.methods - {"HEAD"}}
    # The POST of a function is described once for each function.
    routed.discard(("POST", "/v1/functions/{name}"))
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    functions = {("POST", f"/v1/functions/{name}") for name in ("greet", "anything", "scale")}
    assert told == routed | functions


def test_document_is_openapi(document: dict[str, Any]) -> None:
    """It has the version, the parts and the schemas that OpenAPI 3.1 asks for; every reference leads somewhere."""
    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, "$defs": {}})
    for reference in references(document):
        place = document
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
    assert "#/components/schemas/scale.Size" in set(references(document))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_document_is_fit_for_generated_clients(document: dict[str, Any]) -> None:
    """It keeps to what generators read: examples and defaults that are valid, typed enumerations and arrays, bodies of a type.

    Tried with openapi-python-client 0.30, which drops or breaks what is told otherwise.
    """
    for schema in schemas(document):
        assert "enum" not in schema or "type" in schema, schema
        assert schema.get("type") != "array" or "items" in schema, schema
        assert "const" not in schema or schema.get("type") == "string", schema
        assert "default" not in schema or schema["default"] is not None, schema
    tried = 0
    for _, _, operation in operations(document):
        for answer in operation["responses"].values():
            assert next(iter(answer.get("content", {"-": None}))) != "*/*"
        contents = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (each for holder in contents for each in holder.get("content", {}).values() if "example" in each):
            whole = {**content["schema"], "components": document["components"]}
            assert list(jsonschema_rs.validator_for(whole).iter_errors(content["example"])) == []
            tried += 1
    assert tried >= 6


def schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema, and every other object, within a document; examples are no part of it."""
    if isinstance(value, dict):
        yield value
        for name, each in value.items():
            if name not in ("example", "properties"):
                yield from schemas(each)
            elif name == "properties":
                for own in each.values():
                    yield from schemas(own)
    elif isinstance(value, list):
        for each in value:
            yield from schemas(each)


def test_result_has_its_definitions(described: Web) -> None:
    """A result's own definitions are components, apart from those of the parameters, which may mean another thing.

    They have no titles: openapi-python-client drops all but one schema of a title.
    """
    item = {"title": "Item", "type": "object", "properties": {"parts": {"type": "array", "items": {"$ref": "#/$defs/Item"}}}}
    given = {"$ref": "#/$defs/Item", "$defs": {"Item": {**COUNT, "title": "Item"}}}
    described.deploy(
        function("build", {"item": given}, output_schema={"$ref": "#/$defs/Item", "$defs": {"Item": item}}), folder="another"
    )
    document = described.client.get("/openapi.json").json()
    answer = document["paths"]["/v1/functions/build"]["post"]["responses"]["200"]
    whole = {**answer["content"]["application/json"]["schema"], "components": document["components"]}
    validator = jsonschema_rs.validator_for(whole)
    assert validator.is_valid({"parts": [{"parts": []}]})
    assert not validator.is_valid({"parts": [1]})
    assert not [name for name, schema in document["components"]["schemas"].items() if "title" in schema]


BOUNDED = {
    "above": {"type": "integer", "exclusiveMinimum": 5},
    "below": {"type": "number", "exclusiveMaximum": 0},
    "between": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "seventh": {"type": "integer", "multipleOf": 7, "minimum": 8},
    "code": {"type": "string", "minLength": 6, "maxLength": 8},
    "short": {"type": "string", "maxLength": 2},
    "pair": {"type": "array", "prefixItems": [COUNT, TEXT], "minItems": 2, "maxItems": 2},
    "many": {"type": "array", "items": TEXT, "minItems": 3},
    "at": {"type": "string", "format": "time"},
}


def test_example_requests_are_accepted(described: Web) -> None:
    """What the document shows as a request is one; where no example is found none is shown, rather than a wrong one."""
    described.deploy(
        function("bounded", BOUNDED, required=tuple(BOUNDED)),
        function("coded", {"code": {**TEXT, "pattern": "^[A-Z]{3}$"}}, required=("code",)),
        folder="another",
    )
    document = described.client.get("/openapi.json").json()
    tried = []
    for method, path, operation in operations({**document, "webhooks": {}}):
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if "example" in content:
                body = json.dumps(content["example"])
                answer = described.client.request(method, path, content=body, headers={"content-type": media_type})
                assert answer.status_code == 202, (path, answer.text)
                tried.append(operation["operationId"])
    assert tried.count("publishEvents") == 2
    assert {"invoke_greet", "invoke_anything", "invoke_scale", "invoke_bounded"} <= set(tried)
    assert "invoke_coded" not in tried


def test_names_in_programs(described: Web) -> None:
    """Generators write operation ids as names of functions: none clashes in any of their spellings, and none is a word of theirs."""
    described.deploy(function("a-b"), function("a.b"), function("a_b"), function("c-d.e"), folder="another")
    document = described.client.get("/openapi.json").json()
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", identity) for identity in ids), ids
    for spelt in (snake, lambda identity: snake(identity).replace("_", "")):
        names = [spelt(identity) for identity in ids]
        assert len(set(names)) == len(names)
        assert not [name for name in names if keyword.iskeyword(name) or name in ("delete", "function", "new", "typeof")]
    by_path = {path: operation["operationId"] for _, path, operation in operations(document)}
    assert by_path["/v1/functions/a_b"] == "invoke_a_b"
    assert by_path["/v1/functions/c-d.e"] == "invoke_c_d_e"
    described.deploy(function("a.b"), function("a_b"), folder="another")
    again = {path: operation["operationId"] for _, path, operation in operations(described.client.get("/openapi.json").json())}
    assert again["/v1/functions/a_b"] == by_path["/v1/functions/a_b"]


def snake(identity: str) -> str:
    return re.sub("(?<=[a-z0-9])([A-Z])", r"_\1", identity).lower()


def test_operation_ids_are_stable_names(described: Web, document: dict[str, Any]) -> None:
    """They are unique, made of names, and the same after another deployment: generated clients keep their methods."""
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    assert all(identity.replace("_", "").isalnum() for identity in ids)
    tags = {tag for _, _, operation in operations(document) for tag in operation["tags"]}
    assert tags <= {tag["name"] for tag in document["tags"]}
    assert {"invoke_greet", "invoke_scale", "deliver_scale_1", "getInvocation"} <= set(ids)
    described.deploy(function("first"), folder="another")
    again = [operation["operationId"] for _, _, operation in operations(described.client.get("/openapi.json").json())]
    assert set(again) == {*ids, "invoke_first"}


def test_function_with_its_schema(document: dict[str, Any]) -> None:
    """A client sees the parameters, an example, the result, the wait and the callback."""
    greet = document["paths"]["/v1/functions/greet"]["post"]
    assert greet["summary"] == "Greet somebody"
    body = greet["requestBody"]["content"]["application/json"]
    assert body["example"] == {"name": "text"}
    assert document["components"]["schemas"]["greet.input"]["required"] == ["name"]
    assert greet["responses"]["200"]["content"]["application/json"]["schema"] == TEXT
    assert {"200", "202", "400", "401", "404", "422", "429", "502", "503"} <= greet["responses"].keys()
    assert "ended" in greet["callbacks"]
    scale = document["paths"]["/v1/functions/scale"]["post"]
    assert set(scale["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    assert "note" in {parameter["name"] for parameter in scale["parameters"]}


def test_declared_route_is_a_webhook(document: dict[str, Any]) -> None:
    """What providers send is described apart from what clients call."""
    (delivery,) = document["webhooks"]["scale_1"].values()
    assert delivery["x-oncue-path"] == "/hooks/{note}/scale"


def test_document_is_made_once(described: Web) -> None:
    """A client that has it is told so."""
    first = described.client.get("/openapi.json")
    again = described.client.get("/openapi.json", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_page_needs_nothing_from_elsewhere(described: Web) -> None:
    """It works offline: its files come from here, and its policy forbids all others."""
    page = described.client.get("/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    files = [described.client.get(f"/docs/{name}") for name in ("page.js", "page.css")]
    assert [file.status_code for file in files] == [200, 200]
    assert all("https://" not in each.text and "http://" not in each.text for each in (page, *files))
    assert described.client.get("/docs/other.js").status_code == 404


def test_numbers(described: Web, eventually: Callable[..., object]) -> None:
    """Prometheus reads what was accepted, how it ended, what waits, and how long answers took."""
    described.client.post("/v1/functions/anything", json={})
    described.client.post("/v1/functions/anything", json={})
    described.worker.succeed(described.worker.claim())
    lines = described.client.get("/metrics").text.splitlines()
    assert 'oncue_accepts_total{function="anything",outcome="new"} 2.0' in lines
    assert 'oncue_attempts_total{function="anything",outcome="succeeded"} 1.0' in lines
    assert 'oncue_queue_entries{queue="default",state="queued"} 1.0' in lines
    count = 'oncue_http_request_seconds_count{method="POST",route="/v1/functions/{name}",status="202"} 2.0'
    assert count in lines
