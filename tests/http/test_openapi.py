"""The OpenAPI document: complete, valid, stable, and true of what the edge does."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from runtime.authoring.triggers import HttpTrigger
from tests.http.serving import Web, function

TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 1}
BLOB = {"type": "string", "contentEncoding": "base64"}
SIZE = {"type": "object", "properties": {"width": COUNT, "height": COUNT}, "required": ["width"]}


@pytest.fixture
def described(web: Web) -> Web:
    """An edge with functions of several shapes, and a worker that lets some succeed and some fail."""
    web.deploy(
        function("greet", {"name": TEXT, "times": COUNT}, required=("name",), output_schema=TEXT, summary="Greet somebody"),
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


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_edge_does_what_its_document_says(described: Web, document: dict[str, Any]) -> None:
    """Whatever fits the document, or nearly does, meets no 5xx and no answer that is not described; in every operation."""
    stopping = threading.Event()
    worker = threading.Thread(target=_finish, args=(described, stopping))
    worker.start()
    schema = schemathesis.openapi.from_dict(document)
    seen = set()
    try:
        for result in schema.get_all_operations():
            operation = result.ok()
            seen.add((operation.method, operation.path))
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                _try(operation, mode, described)
    finally:
        stopping.set()
        worker.join()
    assert len(seen) == sum(len(methods) for methods in document["paths"].values())


def _try(operation: Any, mode: schemathesis.GenerationMode, web: Web) -> None:
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        response = case.call(base_url=str(web.client.base_url), timeout=20)
        case.validate_response(response, checks=CHECKS)

    # An operation without parameters cannot be asked wrongly.
    with contextlib.suppress(*([Unsatisfiable] if mode == schemathesis.GenerationMode.NEGATIVE else [])):
        run()


def _finish(web: Web, stopping: threading.Event) -> None:
    """Let two of three invocations succeed."""
    ledger, numbers = web.worker.ledger, itertools.count()
    ledger.declare("default")
    while not stopping.is_set():
        delivered = ledger.deliveries("default", "tests", count=10, block_s=0.05)
        for claim in ledger.claim("default", "tests", delivered) if delivered else ():
            if next(numbers) % 3:
                web.worker.succeed(claim, b'"done"')
            else:
                web.worker.fail(claim)
