"""The operations of `/v1/deployments`, by method and path."""

from __future__ import annotations

from triggers.http.openapi.parts import Json, answers, json_content, path, query, ref

_FLAG = {"type": "string", "enum": ["0", "1"]}
_PERCENT = {"type": "integer", "minimum": 1, "maximum": 99}
_FOLDER = path("folder", "the folder's name")
_ORIGIN = [
    query("who", "who does it, for the history; of an API key its name counts"),
    query("commit", "the git commit of the folder"),
    query("dirty", "whether the folder differs from its commit", _FLAG),
]
_WISHES = [
    query("folder", "the folder's name; without it the archive holds one folder, which gives the name"),
    query("plan", "change nothing, and answer what would change", _FLAG),
    query("smoke", "run the folder's smoke events before the switch", _FLAG),
    query("adopt", "move what waits to the new version, where its data fits", _FLAG),
    query("allow_missing_secrets", "deploy although a declared secret has no value", _FLAG),
    query("percent", "the share of new invocations it gets", _PERCENT),
]
_DOCUMENT = json_content(ref("Document"))
_STEPS: Json = {"application/x-ndjson": {"schema": {"type": "string"}, "example": '{"step":"pack"}\n{"report":{}}\n'}}


def deploying_operations() -> dict[tuple[str, str], Json]:
    """Return the operations that deploy and roll back."""
    own = "/v1/deployments/{folder}"
    archive = {"required": True, "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
    return {
        ("GET", "/v1/deployments"): _operation("listDeployments", "List what every folder serves", answers({200: _DOCUMENT})),
        ("POST", "/v1/deployments"): _operation(
            "deploy", "Deploy a folder", answers({200: _DOCUMENT | _STEPS, 201: _DOCUMENT}, 413, 415), [*_WISHES, *_ORIGIN]
        )
        | {"requestBody": archive},
        ("GET", own): _operation(
            "getDeployment", "Tell a folder's versions and history", answers({200: _DOCUMENT}, 404), [_FOLDER]
        ),
        ("DELETE", own): _operation(
            "undeploy", "Serve nothing of a folder any more", answers({204: None}, 404), [_FOLDER, *_ORIGIN]
        ),
        ("GET", f"{own}/diff"): _operation(
            "diffVersions",
            "Tell how two versions of a folder differ",
            answers({200: _DOCUMENT}, 404, 410),
            [_FOLDER, query("from", "a version, or how it begins"), query("to", "the other one")],
        ),
        ("POST", f"{own}/rollback"): _operation(
            "rollback",
            "Serve an earlier version of a folder",
            answers({200: _DOCUMENT}, 404),
            [_FOLDER, query("version", "the version, or how it begins; without it the one before"), *_ORIGIN],
        ),
        ("POST", f"{own}/promote"): _operation(
            "promote",
            "Have a folder's candidate serve everything",
            answers({200: _DOCUMENT}, 404),
            [_FOLDER, query("percent", "only this share of new invocations", _PERCENT), *_ORIGIN],
        ),
    }


def _operation(id: str, summary: str, responses: Json, parameters: list[Json] | None = None) -> Json:
    own = {"operationId": id, "summary": summary, "tags": ["operations"], "responses": responses}
    return own | ({"parameters": parameters} if parameters else {})
