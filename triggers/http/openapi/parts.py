"""Pieces that operations are made of: parameters, answers, and the schemas of the API's own documents."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

#: What any operation may answer: malformed or repeated headers, no key, no scope, a late body, too long a target, a foreign
#: host, too many requests, too many headers, and Redis away.
ALWAYS = (400, 401, 403, 408, 414, 421, 429, 431, 503)

TITLES = {
    200: "Done",
    201: "Made",
    202: "Accepted; not finished yet",
    204: "Nothing more to say",
    304: "Not modified since",
    400: "The request cannot be read, or its data does not fit",
    401: "No API key, or not a live one",
    403: "The key lacks the scope",
    404: "There is no such thing",
    405: "Not with this method",
    408: "The request took too long to arrive",
    409: "Not in this state",
    410: "It is no longer kept",
    413: "The body is too large",
    414: "The path and its query are too long",
    415: "A body of this kind is not taken",
    421: "Not under this host name",
    422: "The idempotency key came with another request before",
    429: "Too many requests",
    431: "Too many headers",
    502: "The function failed",
    503: "Redis is away; nothing was accepted",
}

_TEXT = {"type": "string"}
_TIME = {"type": ["string", "null"], "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
#: What a function returns, in its own media type. Generated clients read the first as bytes, and know nothing of the second.
ANY: Json = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}, "*/*": {"schema": {}}}
_LINKS = {
    "type": "object",
    "properties": {name: {"type": "string", "format": "uri-reference"} for name in ("self", "result", "events", "cancel")},
    "required": ["self"],
}


def ref(name: str) -> Json:
    """Refer to a schema of `components`."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_content(schema: Json, example: Any = None) -> Json:
    """Return the content of a JSON body."""
    return {"application/json": {"schema": schema, **({"example": example} if example is not None else {})}}


def answers(contents: dict[int, Json | None], *problems: int) -> Json:
    """Return the responses of an operation: contents by status, and the problems it may answer besides `ALWAYS`."""
    found: dict[int, Json] = {
        status: {"description": TITLES[status], "headers": {"X-Request-Id": {"schema": _TEXT}}}
        | ({"content": content} if content else {})
        for status, content in contents.items()
    }
    for status in (*ALWAYS, *problems):
        found.setdefault(status, {"$ref": f"#/components/responses/Problem{status}"})
    return {str(status): found[status] for status in sorted(found)}


def query(name: str, description: str, schema: Json | None = None) -> Json:
    """Return a parameter of the query."""
    return {"name": name, "in": "query", "description": description, "schema": schema or _TEXT}


def header(name: str, description: str, schema: Json | None = None) -> Json:
    """Return a header of the request."""
    return {"name": name, "in": "header", "description": description, "schema": schema or _TEXT}


def path(name: str, description: str) -> Json:
    """Return a parameter of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1},
    }


def nullable(schema: Json) -> Json:
    """Allow null besides."""
    return {"anyOf": [schema, {"type": "null"}]}


def schemas() -> Json:
    """Return the schemas of the API's own documents."""
    invocation = {
        "id": _TEXT,
        "function": _TEXT,
        "version": _TEXT,
        "status": {
            "type": "string",
            "enum": ["scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled"],
        },
        "attempt": _COUNT,
        "accepted_at": _TIME,
        "due_at": _TIME,
        "started_at": _TIME,
        "ended_at": _TIME,
        "progress": {"type": ["object", "null"]},
        "error": {"type": ["object", "null"]},
        "attempts": {"type": "array", "items": {"type": "object"}},
        "result": {"type": ["object", "null"]},
        "links": _LINKS,
        "callback": {"type": "object", "description": "whether its callback URL has been told"},
    }
    return {
        "Problem": _object(
            {
                "type": _TEXT,
                "title": _TEXT,
                "status": {"type": "integer"},
                "code": {"type": "string", "description": "the stable name that a client may act on"},
                "detail": _TEXT,
                "instance": _TEXT,
                "request_id": _TEXT,
                "errors": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"pointer": {"type": "string", "format": "json-pointer"}}},
                },
            },
            optional=("instance", "errors"),
        ),
        "Accepted": _object(
            {"id": _TEXT, "status": _TEXT, "duplicate": {"type": "boolean"}, "links": _LINKS}, optional=("duplicate",)
        ),
        "Invocation": _object(invocation, optional=("callback",)),
        "InvocationPage": _object({"invocations": {"type": "array", "items": ref("Invocation")}, "next": nullable(_TEXT)}),
        "Function": _object(
            {
                "name": _TEXT,
                "summary": _TEXT,
                "description": _TEXT,
                "folder": _TEXT,
                "version": _TEXT,
                "triggers": {"type": "array", "items": {"type": "object"}},
                "options": {"type": "object"},
                "input_schema": {"type": "object"},
                "output_schema": {"type": ["object", "null"]},
                "blob_parameter": nullable(_TEXT),
                "url": _TEXT,
                "health": {"type": "object", "additionalProperties": _COUNT},
            }
        ),
        "FunctionList": _object(
            {
                "functions": {"type": "array", "items": ref("Function")},
                "quarantined": {"type": "array", "items": {"type": "object"}},
            }
        ),
        "AuditPage": _object(
            {
                "entries": {
                    "type": "array",
                    "items": _object(
                        dict.fromkeys(
                            ("at", "who", "key", "address", "method", "route", "decision", "request_id", "body"), _TEXT
                        )
                        | {"status": {"type": "integer"}}
                    ),
                },
                "next": nullable(_TEXT),
            }
        ),
        "InvocationEnded": _object(
            {
                "type": {"type": "string", "enum": ["invocation.succeeded", "invocation.failed", "invocation.cancelled"]},
                "timestamp": _TIME,
                "data": ref("Invocation"),
            }
        ),
        "State": _object({"status": _TEXT, "sources": {"type": "array", "items": {"type": "object"}}}, optional=("sources",)),
        "Document": {"type": "object"},
    }


def problem_responses() -> Json:
    """Return one response for each status that is a problem."""
    return {
        f"Problem{status}": {
            "description": title,
            "headers": {"X-Request-Id": {"schema": _TEXT}}
            | ({"Retry-After": {"schema": {"type": "integer"}}} if status in (429, 503) else {}),
            "content": {"application/problem+json": {"schema": ref("Problem")}},
        }
        for status, title in TITLES.items()
        if status >= 400
    }


def _object(properties: Json, optional: tuple[str, ...] = ()) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}
