"""`oncue list`, `invocations`, `logs`, `audit` and `openapi`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from infra.announcing import trigger_words
from infra.cli.api import ANSWER_WITHIN_S, Api, invocation_path, problem, unreachable
from infra.cli.showing import console, moment, print_json, print_json_line, print_table, status_text, styled, write_file

if TYPE_CHECKING:
    from rich.text import Text

#: Seconds of silence after which `logs` without --follow takes the rest for not yet written.
CAUGHT_UP_S = 0.5
#: The id of the frame that tells the end.
END_ID = "end"
#: Times in a row that a broken stream is taken up again.
RECONNECTS = 10


def show_functions(url: str | None, *, as_json: bool) -> None:
    """Print every function, and every folder in quarantine."""
    document = Api(url).get("/v1/functions").json()
    if as_json:
        return print_json(document)
    between = "\n" if sys.stdout.isatty() else ", "
    print_table(
        ("FUNCTION", "TRIGGERS", "FOLDER", "VERSION", "SUMMARY"),
        (
            (f["name"], between.join(map(trigger_words, f["triggers"])) or "-", f["folder"], f["version"][:12], f["summary"])
            for f in document["functions"]
        ),
    )
    for each in document["quarantined"]:
        place = "/".join(filter(None, (each["folder"], each.get("file")))) + (f":{each['line']}" if each.get("line") else "")
        console().print(styled(("✗ ", "red"), (place, "bold"), f": {each['reason']}"))
    return None


def show_invocations(
    url: str | None, *, function: str | None, status: str | None, since: str | None, limit: int, as_json: bool
) -> None:
    """Print invocations, the newest first, following the API's pages up to `limit`."""
    api, found, cursor = Api(url), list[dict[str, Any]](), None
    while len(found) < limit:
        page = api.get(
            "/v1/invocations",
            function=function,
            status=status,
            since=since,
            cursor=cursor,
            limit=min(limit - len(found), 100),
        ).json()
        found += page["invocations"]
        cursor = page["next"]
        if cursor is None:
            break
    if as_json:
        return print_json({"invocations": found, "next": cursor})
    print_table(
        ("ID", "FUNCTION", "STATUS", "TRY", "ACCEPTED", "ERROR"),
        (
            (
                i["id"],
                i["function"],
                status_text(i["status"]),
                str(i["attempt"]),
                moment(i["accepted_at"]),
                error_words(i) or "",
            )
            for i in found
        ),
    )
    return None


def show_audit(url: str | None, *, limit: int, as_json: bool) -> None:
    """Print the audit, the newest first, following the API's pages up to `limit`."""
    api, entries, cursor = Api(url), list[dict[str, Any]](), None
    while len(entries) < limit:
        page = api.get("/v1/audit", limit=min(limit - len(entries), 500), cursor=cursor).json()
        entries += page["entries"]
        cursor = page["next"]
        if cursor is None:
            break
    if as_json:
        return print_json({"entries": entries, "next": cursor})
    print_table(
        ("TIME", "WHO", "KEY", "REQUEST", "DECISION", "REQUEST ID"),
        (
            (
                *(moment(e["at"]), e["who"] or e["address"], e["key"], f"{e['method']} {e['route']}"),
                *(f"{e['decision']} {e['status']}", e["request_id"]),
            )
            for e in entries
        ),
    )
    return None


def show_openapi(url: str | None, output: Path | None) -> None:
    """Print the OpenAPI document, or write it to a file."""
    text = json.dumps(Api(url).get("/openapi.json").json(), indent=2, ensure_ascii=False) + "\n"
    if output is None or str(output) == "-":
        sys.stdout.write(text)
    else:
        write_file(output, text.encode())


def error_words(invocation: dict[str, Any]) -> str | None:
    """Say an invocation's error in one line; None when it has none."""
    error = invocation.get("error")
    if not isinstance(error, dict):
        return error
    return ": ".join(str(error[name]) for name in ("type", "message") if error.get(name)) or json.dumps(error)


def show_logs(url: str | None, id: str, *, follow: bool, as_json: bool) -> None:
    """Print what an invocation has said, each frame a line; with `follow` until it has ended."""
    api = Api(url)
    api.get(invocation_path(id))  # an unknown id is refused in words, not as an empty stream
    screen = console()
    for kind, data in _frames(api, f"{invocation_path(id)}/events", follow=follow):
        if as_json:
            print_json_line({"event": kind, "data": data})
        else:
            screen.print(_frame_text(kind, data), soft_wrap=True)


def _frames(api: Api, path: str, *, follow: bool) -> Iterator[tuple[str, Any]]:
    last_id: str | None = None
    failures = 0
    has_begun, patience_s = False, CAUGHT_UP_S
    cut: httpx.TransportError
    while True:
        try:
            with api.stream(path, last_id, idle_s=None if follow else patience_s) as response:
                if response.status_code == 204:
                    return
                if not response.is_success:
                    response.read()
                    raise problem(response)
                for frame in _parse(response.iter_lines()):
                    failures, has_begun = 0, True
                    last_id = frame.get("id", last_id)
                    yield frame.get("event", "message"), json.loads(frame["data"])
            if not follow or last_id == END_ID:
                return
            cut = httpx.ReadError("the stream ended before the invocation did")  # a web process that stops ends its streams
        except httpx.ReadTimeout as error:
            if has_begun:
                return
            cut, patience_s = error, 2 * patience_s
            if patience_s < ANSWER_WITHIN_S:
                continue
        except httpx.TransportError as error:
            cut = error
        failures += 1
        if not follow or failures > RECONNECTS:
            raise unreachable(api.url, cut) from cut
        time.sleep(min(0.1 * 2**failures, 3.0))


def _parse(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Read server-sent events (WHATWG HTML, 9.2.6): fields until an empty line; `:` begins a comment."""
    frame: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in frame:
                yield frame
            frame = {}
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data" and "data" in frame:
            value = f"{frame['data']}\n{value}"
        if name:
            frame[name] = value


def _frame_text(kind: str, data: Any) -> Text:
    if not isinstance(data, dict):
        return styled(f"{kind}  {data}")
    if kind == "status":
        error = error_words(data)
        words = status_text(str(data.get("status", data)))
        return styled(("● ", "dim"), words, (f"  {error}" if error else "", "red"))
    if kind == "progress":
        return styled(("◌ ", "dim"), (f"{data.get('fraction', 0):4.0%}", "cyan"), f"  {data.get('note', '')}")
    level = str(data.get("level", "")).lower()
    style = {"warning": "yellow", "error": "red", "critical": "red"}.get(level, "dim")
    return styled((f"{level:<8} ", style), str(data.get("line", json.dumps(data))))
