"""`oncue cancel`, `oncue replay`, `oncue dead …` and `oncue send`."""

from __future__ import annotations

import base64
import json
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

from infra.cli import arguments
from infra.cli.api import Api, invocation_path, path_id
from infra.cli.errors import UsageError
from infra.cli.reading import error_words
from infra.cli.showing import moment, print_facts, print_json, print_table

#: Filters of dead letters, as the API names them.
Filters = dict[str, Any]


def cancel_invocation(url: str | None, id: str, *, as_json: bool) -> None:
    """Cancel an invocation, and print what it is now."""
    _print_change(Api(url).change("POST", f"{invocation_path(id)}/cancel").json(), as_json=as_json)


def replay_invocation(url: str | None, id: str, *, as_json: bool) -> None:
    """Invoke a failed invocation anew, and print the new one's id."""
    _print_change(Api(url).change("POST", f"{invocation_path(id)}/replay").json(), as_json=as_json)


def _print_change(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return print_json(document)
    facts = [("id", document["id"]), ("status", document["status"]), ("replay of", document.get("replay_of"))]
    return print_facts([*facts, ("follow", f"oncue logs {document['id']} -f")])


def show_dead_letters(url: str | None, filters: Filters, limit: int, *, as_json: bool) -> None:
    """Print what has failed, counted by its cause, and the newest cases."""
    document = Api(url).get("/v1/dead-letters", limit=limit, **filters).json()
    if as_json:
        return print_json(document)
    _print_groups(document["groups"])
    if document["dead_letters"]:
        sys.stdout.write("\n")
        print_table(
            ("ID", "FUNCTION", "TRY", "ENDED", "ERROR"),
            (
                (i["id"], i["function"], str(i["attempt"]), moment(i["ended_at"]), error_words(i) or "")
                for i in document["dead_letters"]
            ),
        )
    return None


def replay_dead_letters(
    url: str | None, filters: Filters, *, rate: float | None, dry_run: bool, everything: bool, as_json: bool
) -> None:
    """Replay the dead letters of a filter, or with `dry_run` say which they are."""
    _check_meant(filters, everything)
    path, more = "/v1/dead-letters/replay", {"rate": rate, "dry_run": int(dry_run) or None}
    document = Api(url).change("POST", path, **filters, **more).json()
    _print_outcome(document, f"replayed {document.get('replayed')}", as_json=as_json)


def drop_dead_letters(url: str | None, filters: Filters, *, dry_run: bool, everything: bool, as_json: bool) -> None:
    """Delete the dead letters of a filter, or with `dry_run` say which they are."""
    _check_meant(filters, everything)
    more = {"all": int(everything) or None, "dry_run": int(dry_run) or None}
    document = Api(url).change("DELETE", "/v1/dead-letters", **filters, **more).json()
    _print_outcome(document, f"dropped {document.get('dropped')}", as_json=as_json)


def drop_dead_letter(url: str | None, id: str, filters: Filters, *, dry_run: bool, everything: bool) -> None:
    """Delete one dead letter."""
    path = f"/v1/dead-letters/{path_id(id)}"
    if any(filters.values()) or dry_run or everything:
        raise UsageError(f"an id means one dead letter: give no filter, --all or --dry-run beside it (oncue get {id} shows it)")
    Api(url).change("DELETE", path)


def _check_meant(filters: Filters, everything: bool) -> None:
    if not any(filters.values()) and not everything:
        raise UsageError("say which dead letters are meant, by --function, --fingerprint, --type or --since; or --all")


def _print_outcome(document: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        return print_json(document)
    if document.get("dry_run"):
        _print_groups(document["groups"])
        words = f"nothing was changed; {document['count']} are meant"
    return print_facts([("done", words)])


def _print_groups(groups: list[dict[str, Any]]) -> None:
    print_table(
        ("COUNT", "FUNCTION", "FINGERPRINT", "NEWEST", "ERROR"),
        (
            (str(g["count"]), g["function"], g["fingerprint"] or "-", moment(g["newest_at"]), error_words({"error": g}) or "")
            for g in groups
        ),
    )


def send_event(url: str | None, type: str, words: list[str], *, source: str, id: str | None, as_json: bool) -> None:
    """Publish an event as a CloudEvent, and print who takes it."""
    body = arguments.read(words, {})
    if body.query:
        raise UsageError("beside a raw body no parameters can be sent; an event has one of them as its data")
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": id or uuid.uuid4().hex,
        "source": source,
        "type": type,
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": body.media_type,
    }
    if body.media_type == "application/json":
        event["data"] = json.loads(body.content)
    else:
        event["data_base64"] = base64.b64encode(body.content).decode()
    document = _publish(Api(url), event)
    if as_json:
        return print_json(document)
    (sent,) = document["events"]
    facts = [("id", sent["id"]), ("source", sent["source"]), ("key", sent["key"]), ("duplicate", sent["duplicate"] or None)]
    return print_facts([*facts, ("subscribers", ", ".join(sent["subscribers"]) or "nobody")])


def _publish(api: Api, event: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = api.post(
        "/v1/events",
        content=json.dumps(event).encode(),
        media_type="application/cloudevents+json",
        query={},
        wait_s=0,
        key=None,
    ).json()
    return document
