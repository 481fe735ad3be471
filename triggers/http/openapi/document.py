"""From the manifests to an OpenAPI 3.1 document: one operation a function, one webhook a declared route.

Operation ids are made of names only, so that generated clients stay the same from one deployment to the next.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from starlette.routing import Route

from runtime.authoring.triggers import HttpTrigger
from triggers.http.openapi.deploying import deploying_operations
from triggers.http.openapi.examples import example_of
from triggers.http.openapi.operations import fixed_operations
from triggers.http.openapi.parts import (
    ANY,
    Json,
    answers,
    header,
    json_content,
    problem_responses,
    query,
    ref,
    schemas,
)
from triggers.http.served import Served
from triggers.http.targets import Target

_TAGS = ("functions", "invocations", "schedules", "events", "dead letters", "deployments", "operations")
#: An artifact may come where JSON is declared.
_REST = {"*/*": ANY["*/*"]}
_JSON_TYPES = ("string", "integer", "number", "boolean")

_INVOKE_HEADERS = [
    header(
        "Idempotency-Key", "a repeat with the same key answers with the same invocation", {"type": "string", "maxLength": 255}
    ),
    header("Prefer", "`wait=N` waits up to N seconds and answers with the result (RFC 7240)"),
    header("Oncue-Callback-Url", "an https URL that is told of the end, signed as Standard Webhooks asks"),
    header("traceparent", "W3C Trace Context, handed on to the function"),
]
_INVOKE_QUERY = [
    query("delay", "start so much later, like 30s or 1h"),
    query("at", "start then", {"type": "string", "format": "date-time"}),
]


def document(served: Served, routes: Iterable[Route], version: str) -> Json:
    """Return the document of what is served; `routes` are those of the router."""
    components: Json = {
        "schemas": schemas(),
        "responses": problem_responses(),
        "securitySchemes": {
            "key": {
                "type": "http",
                "scheme": "bearer",
                "description": "an API key (oncue key new); not asked for while none exists",
            }
        },
    }
    paths: dict[str, Json] = {}
    fixed = fixed_operations() | deploying_operations()
    for route in routes:
        for method in sorted((route.methods or set()) - {"HEAD"}):
            operation = fixed.get((method, route.path))
            if operation is not None:
                paths.setdefault(route.path, {})[method.lower()] = operation
    webhooks: dict[str, Json] = {}
    for target in served.targets.values():
        schema = _hoisted(target, components["schemas"])
        paths[f"/v1/functions/{target.name}"] = {"post": _invoke(target, schema)}
        for number, trigger in enumerate(target.manifest.triggers_of(HttpTrigger), 1):
            webhooks[f"{target.name}_{number}"] = {trigger.method.lower(): _delivery(target, trigger, number, schema)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OnCue",
            "version": version,
            "description": "Runs small Python functions when something happens. Every error is `application/problem+json` (RFC 9457).",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {}],
        "tags": [{"name": name} for name in _TAGS],
        "paths": dict(sorted(paths.items(), key=lambda item: (not item[0].startswith("/v1/functions/"), item[0]))),
        **({"webhooks": webhooks} if webhooks else {}),
        "components": components,
    }


def _invoke(target: Target, schema: Json) -> Json:
    manifest = target.manifest
    result = manifest.output_schema
    content = {"application/json": {"schema": schema, "example": example_of(manifest.input_schema)}}
    if manifest.blob_parameter is not None:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": f"invoke_{target.name}",
        "summary": manifest.summary or f"Invoke {target.name}",
        "description": inspect.cleandoc(manifest.description),
        "tags": ["functions"],
        "parameters": [*_INVOKE_HEADERS, *_INVOKE_QUERY, *_raw_parameters(target)],
        "requestBody": {"required": bool(manifest.input_schema.get("required")), "content": content},
        "responses": answers(
            {202: json_content(ref("Accepted")), 200: json_content(result) | _REST if result else ANY},
            *(404, 410, 413, 415, 422, 502),
        ),
        "callbacks": {
            "ended": {
                "{$request.header.oncue-callback-url}": {
                    "post": {
                        "operationId": f"ended_{target.name}",
                        "summary": "Told of the end; signed in webhook-signature. 410 stops the tries",
                        "requestBody": {"content": json_content(ref("InvocationEnded"))},
                        "responses": {"2XX": {"description": "Heard"}},
                    }
                }
            }
        },
    }


def _raw_parameters(target: Target) -> list[Json]:
    """Beside a raw body the query fills the other parameters."""
    blob = target.manifest.blob_parameter
    if blob is None:
        return []
    properties: Json = target.manifest.input_schema.get("properties", {})
    return [
        query(name, "beside a raw body", schema)
        for name, schema in properties.items()
        if name not in (blob, "delay", "at") and schema.get("type") in _JSON_TYPES
    ]


def _delivery(target: Target, trigger: HttpTrigger, number: int, schema: Json) -> Json:
    scheme = trigger.verify if isinstance(trigger.verify, str) else "hmac" if trigger.verify else None
    example = example_of(target.manifest.input_schema)
    signed = f"; the sender is verified ({scheme})" if scheme else ""
    return {
        "operationId": f"deliver_{target.name}_{number}",
        "summary": f"{trigger.method} {trigger.path}",
        "description": f"What is sent to `{trigger.path}` invokes `{target.name}`{signed}.",
        "tags": ["functions"],
        **({"requestBody": {"content": json_content(schema, example)}} if trigger.method not in ("GET", "DELETE") else {}),
        "responses": answers({202: json_content(ref("Accepted")), 200: ANY}, 404, 413, 415, 422, 502),
        "x-oncue-path": trigger.path,
        "x-oncue-verify": scheme,
    }


def _hoisted(target: Target, into: Json) -> Json:
    """Put a function's schema among the components; its own definitions become components, too."""
    schema = target.manifest.input_schema
    prefix = f"{target.name}."
    for name, definition in schema.get("$defs", {}).items():
        into[prefix + _plain(name)] = _moved(definition, prefix)
    own = {key: value for key, value in schema.items() if key not in ("$defs", "$schema", "$id")}
    if target.fields is not None:
        own["additionalProperties"] = False
    into[f"{target.name}.input"] = _moved(own, prefix)
    return ref(f"{target.name}.input")


def _moved(schema: Any, prefix: str) -> Any:
    if isinstance(schema, list):
        return [_moved(each, prefix) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: f"#/components/schemas/{prefix}{_plain(value.removeprefix('#/$defs/'))}"
        if key == "$ref" and isinstance(value, str) and value.startswith("#/$defs/")
        else _moved(value, prefix)
        for key, value in schema.items()
        # Says nothing, and of a type without null it is wrong (an author's `content: bytes = None`).
        if key != "default" or value is not None
    }


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
