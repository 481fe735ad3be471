"""The OpenAPI document: complete, valid, stable, and fit for those who generate clients of it (test_conformance.py: true)."""

from __future__ import annotations

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
