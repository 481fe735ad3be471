"""`oncue invoke` and `oncue get`: send, wait with long polls, and hand over the result as what it is."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from infra.cli import arguments
from infra.cli.api import Api, invocation_path
from infra.cli.errors import FailedError, NotInTimeError, UsageError
from infra.cli.progress import Progress
from infra.cli.reading import error_words
from infra.cli.showing import print_facts, print_json, write_file

#: Seconds of one long poll: the progress shown is at most this old.
POLL_S = 1.0
ENDED = ("succeeded", "failed", "cancelled")


def invoke_function(
    url: str | None,
    name: str,
    words: list[str],
    *,
    wait_s: float | None,
    output: Path | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Invoke a function; without `wait_s` print where it can be followed, else its result.

    Raises:
        FailedError: the invocation failed, or was cancelled.
        NotInTimeError: it had not ended after `wait_s` seconds.
    """
    if output is not None and wait_s is None:
        raise UsageError("-o needs --wait: without it there is no result to write yet")
    with Progress(f"waiting for {name}") as progress:
        api = Api(url, progress)
        ends = time.monotonic() + (wait_s or 0.0)
        answer = _send(api, name, words, min(wait_s or 0.0, POLL_S), key)
        is_result = answer.status_code == 200 and "x-invocation-id" in answer.headers
        id = answer.headers["x-invocation-id"] if is_result else answer.json()["id"]
        if wait_s is not None and not is_result:
            _check_ended(_wait(api, id, ends, progress), wait_s)
            answer = api.get(f"{invocation_path(id)}/result")
    if wait_s is not None:
        _hand_over(answer, id, output, as_json=as_json)
    elif as_json:
        print_json(answer.json())
    else:
        print_facts([("id", id), ("status", answer.json()["status"]), ("follow", f"oncue logs {id} -f")])


def _send(api: Api, name: str, words: list[str], wait_s: float, key: str | None) -> httpx.Response:
    path = f"/v1/functions/{quote(name, safe='')}"
    has_parameters = any(not word.startswith("@") for word in words)
    body = arguments.read(words, api.get(path).json()["input_schema"] if has_parameters else {})
    return api.post(path, content=body.content, media_type=body.media_type, query=body.query, wait_s=wait_s, key=key)


def show_invocation(url: str | None, id: str, *, wait_s: float | None, output: Path | None, as_json: bool) -> None:
    """Print an invocation's status document; with `output`, write its result there."""
    with Progress(f"waiting for {id}") as progress:
        api = Api(url, progress)
        invocation = _wait(api, id, time.monotonic() + (wait_s or 0.0), progress)
        if output is not None:
            _check_ended(invocation, wait_s or 0.0)
            answer = api.get(f"{invocation_path(id)}/result")
    if output is not None:
        return _hand_over(answer, id, output, as_json=False)
    if as_json:
        print_json(invocation)
    else:
        _print_invocation(invocation)
    if wait_s is not None:
        _check_ended(invocation, wait_s)
    return None


def show_input(url: str | None, id: str) -> None:
    """Print the event that an invocation is for."""
    print_json(Api(url).get(f"{invocation_path(id)}/input").json())


def _wait(api: Api, id: str, ends: float, progress: Progress) -> dict[str, Any]:
    """Return the status document once the invocation has ended, or as it is when the time is up."""
    while True:
        left = ends - time.monotonic()
        invocation: dict[str, Any] = api.get(invocation_path(id), wait_s=min(left, POLL_S)).json()
        if invocation["status"] in ENDED or left <= 0:
            return invocation
        progress.say(" ".join(filter(None, (id, invocation["status"], _progress_words(invocation)))))


def _check_ended(invocation: dict[str, Any], wait_s: float) -> None:
    id, status = invocation["id"], invocation["status"]
    if status not in ENDED:
        raise NotInTimeError(f"{id} is {status} after {wait_s:g} s and goes on; look again with: oncue get {id} --wait")
    if status != "succeeded":
        raise FailedError(
            f"{id} {'was ' if status == 'cancelled' else ''}{status}: {error_words(invocation) or 'no reason told'}"
        )


def _hand_over(response: httpx.Response, id: str, output: Path | None, *, as_json: bool) -> None:
    """Write the result to a file, or print it: JSON and text as they are, bytes only into a pipe."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or media_type.endswith("+json")
    if output is not None and str(output) != "-":
        write_file(output, response.content)
        sys.stderr.write(f"wrote {output} ({media_type}, {len(response.content):,} bytes)\n")
    elif is_json:
        print_json(response.json())
    elif as_json:
        print_json({"id": id, "media_type": media_type, "size": len(response.content)})
    elif media_type.startswith("text/"):
        sys.stdout.write(response.text + ("" if response.text.endswith("\n") else "\n"))
    elif not response.content:
        return
    elif sys.stdout.isatty():
        raise UsageError(
            f"the result is {media_type}, {len(response.content):,} bytes, and would garble the terminal; "
            f"write it to a file: oncue get {id} -o FILE"
        )
    else:
        sys.stdout.buffer.write(response.content)


def _print_invocation(invocation: dict[str, Any]) -> None:
    result = invocation.get("result") or {}
    size = f"{result['media_type']}, {result['size']:,} bytes" if result else None
    print_facts(
        [
            ("id", invocation["id"]),
            ("function", invocation["function"]),
            ("version", invocation["version"]),
            ("status", invocation["status"]),
            ("attempt", invocation["attempt"]),
            ("accepted", invocation["accepted_at"]),
            ("started", invocation["started_at"]),
            ("ended", invocation["ended_at"]),
            ("progress", _progress_words(invocation) or None),
            ("error", error_words(invocation)),
            ("result", size and f"{size}: oncue get {invocation['id']} -o FILE"),
        ]
    )
    for attempt in invocation["attempts"]:
        _print_failure(attempt)


def _print_failure(attempt: dict[str, Any]) -> None:
    """Print how an attempt failed: when, why and where, and what it said last."""
    error = attempt.get("error")
    if not error:
        return
    when = " to ".join(filter(None, (attempt.get("started_at"), attempt.get("ended_at"))))
    sys.stdout.write("\n")
    print_facts([(f"attempt {attempt['attempt']}", f"{attempt['outcome']}, {when}"), ("error", error_words(attempt))])
    said = [error["traceback"].rstrip()] if error.get("traceback") else []
    for text in (*said, *attempt.get("log", ())):
        sys.stdout.write(f"{text}\n")


def _progress_words(invocation: dict[str, Any]) -> str:
    progress = invocation.get("progress")
    if not isinstance(progress, dict):
        return json.dumps(progress) if progress is not None else ""
    return f"{progress.get('fraction', 0):.0%} {progress.get('note', '')}".strip()
