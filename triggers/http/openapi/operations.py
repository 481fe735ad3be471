"""The fixed operations of the API: whatever app.py routes is described here, by method and path."""

from __future__ import annotations

from typing import Any

from triggers.http.openapi.parts import ANY, Json, answers, header, json_content, path, query, ref

_INVOCATION = path("id", "the id of an invocation")
_SCHEDULE = path("id", "the id of a schedule")
_WAIT = header("Prefer", "`wait=N` waits up to N seconds for the end (RFC 7240)")
_FRESH = header("If-None-Match", "the ETag of what the caller has already")
_LIMIT = query("limit", "how many at most", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50})
_CURSOR = query("cursor", "where the page before ended: its `next`")
_TIME = {"type": "string", "format": "date-time"}
_FLAG = {"type": "string", "enum": ["0", "1"]}
_DEAD = [
    query("function", "only of this function"),
    query("fingerprint", "only of this cause"),
    query("type", "only with this class of error"),
    query("since", "only what failed since then", _TIME),
    query("until", "only what failed until then", _TIME),
]
_DOCUMENT = json_content(ref("Document"))
#: One of the server-sent events.
_FRAME = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "enum": ["status", "log", "progress"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_NOT_EMPTY = {"type": "string", "minLength": 1}
_EVENT = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": _NOT_EMPTY,
        "source": _NOT_EMPTY | {"format": "uri-reference"},
        "type": _NOT_EMPTY,
        "subject": _NOT_EMPTY,
        "time": _TIME,
        "datacontenttype": _NOT_EMPTY,
        "data": {},
    },
}
_UPLOADED = {"specversion": "1.0", "id": "1", "source": "/camera", "type": "image.uploaded", "data": {"name": "cat.jpg"}}
_EVENTS = {
    "application/cloudevents+json": {"schema": _EVENT, "example": _UPLOADED},
    "application/cloudevents-batch+json": {
        "schema": {"type": "array", "items": _EVENT, "maxItems": 100},
        "example": [_UPLOADED, {**_UPLOADED, "id": "2"}],
    },
}


def _operation(id: str, summary: str, tag: str, responses: Json, parameters: list[Json] | None = None, **more: Any) -> Json:
    own = {"operationId": id, "summary": summary, "tags": [tag], "responses": responses}
    return own | ({"parameters": parameters} if parameters else {}) | more


def fixed_operations() -> dict[tuple[str, str], Json]:
    """Return every operation but those of the functions, by (method, path)."""
    return {
        ("GET", "/v1/functions"): _operation(
            "listFunctions", "List what is deployed", "functions", answers({200: json_content(ref("FunctionList"))})
        ),
        ("GET", "/v1/functions/{name}"): _operation(
            "getFunction",
            "Describe one function",
            "functions",
            answers({200: json_content(ref("Function"))}, 400, 404),
            [path("name", "the function's name")],
        ),
        ("GET", "/v1/invocations"): _operation(
            "listInvocations",
            "List invocations, the newest first",
            "invocations",
            answers({200: json_content(ref("InvocationPage"))}),
            [
                query("function", "only of this function"),
                query("status", "only in this state", {"type": "string", "enum": list(_STATUSES)}),
                query("since", "only those accepted since then", _TIME),
                _CURSOR,
                _LIMIT,
            ],
        ),
        ("GET", "/v1/invocations/{id}"): _operation(
            "getInvocation",
            "Tell where an invocation stands",
            "invocations",
            answers({200: json_content(ref("Invocation")), 304: None}, 404, 410),
            [_INVOCATION, _WAIT, _FRESH],
        ),
        ("GET", "/v1/invocations/{id}/result"): _operation(
            "getResult",
            "Fetch what an invocation returned, in its own media type",
            "invocations",
            answers({200: ANY, 202: json_content(ref("Accepted")), 304: None}, 404, 410, 502),
            [_INVOCATION, _WAIT, _FRESH],
        ),
        ("GET", "/v1/invocations/{id}/input"): _operation(
            "getInput",
            "Fetch the event that an invocation is for; a raw body is its data_base64",
            "invocations",
            answers({200: _DOCUMENT}, 404, 410),
            [_INVOCATION],
        ),
        ("GET", "/v1/invocations/{id}/events"): _operation(
            "streamInvocation",
            "Follow an invocation as server-sent events: status, progress and log lines, from the beginning",
            "invocations",
            answers(
                {
                    200: {
                        "text/event-stream": {
                            "schema": _FRAME,
                            "example": {"event": "status", "data": '{"id":"default-01j…","status":"running","attempt":1}'},
                        }
                    },
                    204: None,
                },
                404,
                410,
            ),
            [
                _INVOCATION,
                header("Last-Event-ID", "the id of the last frame seen"),
                query("last_event_id", "the same, for who can set no header"),
            ],
        ),
        ("POST", "/v1/invocations/{id}/cancel"): _operation(
            "cancelInvocation",
            "Cancel an invocation; what runs is ended",
            "invocations",
            answers({202: json_content(ref("Accepted"))}, 404, 409, 410),
            [_INVOCATION],
        ),
        ("POST", "/v1/invocations/{id}/replay"): _operation(
            "replayInvocation",
            "Invoke anew with the same input",
            "invocations",
            answers({202: json_content(ref("Accepted"))}, 404, 409, 410),
            [_INVOCATION],
        ),
        ("GET", "/v1/events"): _operation(
            "listEvents", "List events, the newest first", "events", answers({200: _DOCUMENT}), [_CURSOR, _LIMIT]
        ),
        ("POST", "/v1/events"): _operation(
            "publishEvents",
            "Publish CloudEvents; all of a batch, or none",
            "events",
            answers({202: _DOCUMENT}, 413, 415),
            [header(f"ce-{name}", f"the event's {name}, in binary mode") for name in ("specversion", "id", "source", "type")],
            requestBody={"required": True, "content": _EVENTS},
        ),
        ("OPTIONS", "/v1/events"): _operation(
            "consentToEvents",
            "Agree to be sent events (CloudEvents WebHook, section 4)",
            "events",
            answers({200: None, 204: None}),
            [header("WebHook-Request-Origin", "who wants to send"), header("WebHook-Request-Rate", "events a minute")],
        ),
        ("GET", "/v1/events/{key}"): _operation(
            "getEvent",
            "Tell what became of an event",
            "events",
            answers({200: _DOCUMENT}, 404),
            [path("key", "the event's key")],
        ),
        ("GET", "/v1/dead-letters"): _operation(
            "listDeadLetters",
            "List what has failed, with a count by cause",
            "dead letters",
            answers({200: _DOCUMENT}),
            [*_DEAD, _CURSOR, _LIMIT],
        ),
        ("DELETE", "/v1/dead-letters"): _operation(
            "dropDeadLetters",
            "Delete the dead letters of a filter",
            "dead letters",
            answers({200: _DOCUMENT}),
            [*_DEAD, query("all", "1: every one", _FLAG), query("dry_run", "1: only say which", _FLAG)],
        ),
        ("POST", "/v1/dead-letters/replay"): _operation(
            "replayDeadLetters",
            "Replay the dead letters of a filter",
            "dead letters",
            answers({200: _DOCUMENT, 202: _DOCUMENT}),
            [
                *_DEAD,
                query("rate", "replays a second", {"type": "number", "minimum": 0.001, "maximum": 10000}),
                query("dry_run", "1: only say which", _FLAG),
            ],
        ),
        ("DELETE", "/v1/dead-letters/{id}"): _operation(
            "dropDeadLetter", "Delete one dead letter", "dead letters", answers({204: None}, 404, 409, 410), [_INVOCATION]
        ),
        ("GET", "/v1/schedules"): _operation(
            "listSchedules", "List schedules with their next fires", "schedules", answers({200: _DOCUMENT})
        ),
        ("GET", "/v1/schedules/{id}"): _operation(
            "getSchedule", "Tell what a schedule has fired and missed", "schedules", answers({200: _DOCUMENT}, 404), [_SCHEDULE]
        ),
        ("POST", "/v1/schedules/{id}/fire"): _operation(
            "fireSchedule",
            "Run a schedule's function now",
            "schedules",
            answers({202: json_content(ref("Accepted"))}, 404),
            [_SCHEDULE],
        ),
        ("POST", "/v1/schedules/{id}/pause"): _operation(
            "pauseSchedule", "Fire nothing until it is resumed", "schedules", answers({200: _DOCUMENT}, 404), [_SCHEDULE]
        ),
        ("POST", "/v1/schedules/{id}/resume"): _operation(
            "resumeSchedule", "Go on with the next slot", "schedules", answers({200: _DOCUMENT}, 404), [_SCHEDULE]
        ),
        ("GET", "/v1/audit"): _operation(
            "listAudit",
            "List who asked for what and whether it was let in, the newest first",
            "operations",
            answers({200: json_content(ref("AuditPage"))}),
            [query("limit", "how many at most", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}), _CURSOR],
        ),
        ("GET", "/metrics"): _operation(
            "getMetrics",
            "Numbers of this process and of the ledger, as Prometheus text",
            "operations",
            answers({200: {"text/plain": {"schema": {"type": "string"}}}}),
        ),
        ("GET", "/healthz"): _probe("getHealth", "Tell whether this process lives"),
        ("GET", "/readyz"): _probe("getReadiness", "Tell whether requests can be accepted"),
        ("GET", "/openapi.json"): _operation(
            "getOpenApi", "Fetch this document", "operations", answers({200: _DOCUMENT, 304: None}), [_FRESH]
        ),
        ("GET", "/docs"): _operation(
            "getDocs",
            "A page that shows this document",
            "operations",
            answers({200: {"text/html": {"schema": {"type": "string"}}}}),
        ),
        ("GET", "/docs/{file}"): _operation(
            "getDocsFile",
            "A file of that page",
            "operations",
            answers(
                {200: {"text/css": {"schema": {"type": "string"}}, "text/javascript": {"schema": {"type": "string"}}}}, 404
            ),
            [path("file", "its name")],
        ),
    }


_STATUSES = ("scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled")


def _probe(id: str, summary: str) -> Json:
    return _operation(id, summary, "operations", answers({200: json_content(ref("State"))}), security=[])
