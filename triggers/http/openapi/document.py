"""From the manifests to an OpenAPI 3.1 document: one operation a function, one webhook a declared route.

Operation ids are made of names only, so that generated clients stay the same from one deployment to the next.
"""

from __future__ import annotations

import hashlib
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
    identifiers = _identifiers(served.targets)
    for target in served.targets.values():
        schema, example = _input(target, components["schemas"]), example_of(target.manifest.input_schema)
        identifier = identifiers[target.name]
        paths[f"/v1/functions/{target.name}"] = {
            "post": _invoke(target, identifier, json_content(schema, example), _result(target, components["schemas"]))
        }
        for number, trigger in enumerate(target.manifest.triggers_of(HttpTrigger), 1):
            name = f"{identifier}_{number}"
            webhooks[name] = {trigger.method.lower(): _delivery(target, trigger, name, json_content(schema, example))}
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


def _identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return what functions are called in programs: a name may hold "-" and ".", and the methods of a client may not."""
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (not name.isidentifier(), name)):
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        found[name] = plain if plain not in found.values() else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return found


def _invoke(target: Target, identifier: str, content: Json, result: Json | None) -> Json:
    manifest = target.manifest
    if manifest.blob_parameter is not None:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": f"invoke_{identifier}",
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
                        "operationId": f"ended_{identifier}",
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


def _delivery(target: Target, trigger: HttpTrigger, name: str, content: Json) -> Json:
    scheme = trigger.verify if isinstance(trigger.verify, str) else "hmac" if trigger.verify else None
    signed = f"; the sender is verified ({scheme})" if scheme else ""
    return {
        "operationId": f"deliver_{name}",
        "summary": f"{trigger.method} {trigger.path}",
        "description": f"What is sent to `{trigger.path}` invokes `{target.name}`{signed}.",
        "tags": ["functions"],
        **({"requestBody": {"content": content}} if trigger.method not in ("GET", "DELETE") else {}),
        "responses": answers({202: json_content(ref("Accepted")), 200: ANY}, 404, 413, 415, 422, 502),
        "x-oncue-path": trigger.path,
        "x-oncue-verify": scheme,
    }


def _input(target: Target, into: Json) -> Json:
    """Put a function's parameters among the components."""
    own = _hoisted(target.manifest.input_schema, f"{target.name}.", into)
    if target.fields is not None:
        own["additionalProperties"] = False
    into[f"{target.name}.input"] = own
    return ref(f"{target.name}.input")


def _result(target: Target, into: Json) -> Json | None:
    schema = target.manifest.output_schema
    return _hoisted(schema, f"{target.name}.result.", into) if schema else None


def _hoisted(schema: Json, prefix: str, into: Json) -> Json:
    """Return a schema whose own definitions have become components: `#/$defs` leads elsewhere within a larger document.

    Titles of its own are left out: generators name classes by them, and other functions have an Item, too.
    """
    for name, definition in schema.get("$defs", {}).items():
        into[prefix + _plain(name)] = _moved(_without(definition, "title"), prefix)
    moved: Json = _moved(_without(schema, "title", "$defs", "$schema", "$id"), prefix)
    return moved


def _without(schema: Any, *names: str) -> Any:
    return {key: value for key, value in schema.items() if key not in names} if isinstance(schema, dict) else schema


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
