"""The HTTP API as the command line uses it: answers as plain data, problems as one sentence with an exit code."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any
from urllib.parse import quote

import httpx

from infra.cli.errors import FailedError, UsageError
from infra.cli.progress import Progress
from infra.settings import Settings
from runtime.authoring.errors import OnCueError

#: Seconds an answer may take beyond what the request itself asks to wait.
ANSWER_WITHIN_S = 30.0


class Api:
    """Speaks to one OnCue. `url`: its base URL; None asks the settings. `progress`: the line that a caller shows already."""

    def __init__(self, url: str | None = None, progress: Progress | None = None) -> None:
        self._progress = progress
        settings = Settings.load()
        self.url = url.rstrip("/") if url else settings.base_url
        headers = {"Accept": "*/*", **({"Authorization": f"Bearer {settings.key}"} if settings.key else {})}
        try:
            parsed = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise UsageError(f"{self.url!r} is no URL ({error}); write it like http://127.0.0.1:8080") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise UsageError(f"{self.url!r} is no URL of an API; write it like http://127.0.0.1:8080")
        # Reading all certificate authorities takes 25 ms of every command; without TLS none is needed, and none is trusted.
        tls = True if parsed.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client = httpx.Client(base_url=parsed, timeout=ANSWER_WITHIN_S, headers=headers, verify=tls)

    def get(self, path: str, *, wait_s: float = 0, **query: Any) -> httpx.Response:
        """GET a path; long-poll for `wait_s` seconds when that is given.

        Raises:
            UsageError: the API refuses the request (4xx).
            FailedError: it cannot be reached, or fails (5xx).
        """
        return self._send("GET", path, params={k: v for k, v in query.items() if v is not None}, headers=_prefer(wait_s))

    def post(
        self, path: str, *, content: bytes, media_type: str, query: dict[str, str], wait_s: float, key: str | None
    ) -> httpx.Response:
        """POST a body; see `get`."""
        headers = {"Content-Type": media_type, **_prefer(wait_s), **({"Idempotency-Key": key} if key else {})}
        return self._send("POST", path, content=content, params=query, headers=headers)

    def change(self, method: str, path: str, **query: Any) -> httpx.Response:
        """POST or DELETE without a body; see `get`."""
        return self._send(method, path, params={k: v for k, v in query.items() if v is not None})

    def delete(self, path: str, **query: str) -> httpx.Response:
        """DELETE a path; see `get`."""
        return self._send("DELETE", path, params=query)

    def send_stream(self, path: str, content: bytes, query: dict[str, str], headers: dict[str, str], idle_s: float) -> Any:
        """POST a body and read the answer as it comes, as a context manager; `idle_s` bounds the silence in it."""
        timeout = httpx.Timeout(ANSWER_WITHIN_S, read=idle_s)
        return self._client.stream("POST", path, content=content, params=query, headers=headers, timeout=timeout)

    def stream(self, path: str, last_id: str | None, idle_s: float | None) -> Any:
        """GET a stream of events, as a context manager; `idle_s` bounds the silence between two of them."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        return self._client.stream("GET", path, headers=headers, timeout=httpx.Timeout(ANSWER_WITHIN_S, read=idle_s))

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            with contextlib.nullcontext() if self._progress else Progress(f"waiting for {self.url}"):
                response = self._client.request(method, path, **request)
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error
        if response.is_success:
            return response
        raise problem(response)


def invocation_path(id: str) -> str:
    """Return the path of an invocation; raises as `path_id`."""
    return f"/v1/invocations/{path_id(id)}"


def path_id(id: str) -> str:
    """Return an invocation's id as a part of a path.

    Raises:
        UsageError: the id is empty, as an unset variable of a script is, or would be a path of its own.
    """
    if not id or "/" in id:
        raise UsageError(f"{id!r} is no id of an invocation; oncue invocations lists them")
    return quote(id, safe="")


def unreachable(url: str, error: httpx.TransportError) -> FailedError:
    """Say in one sentence that the API cannot be reached."""
    if isinstance(error, httpx.ConnectError):
        return FailedError(f"nothing answers at {url}; start OnCue with `oncue up`, or name another place with --url")
    return FailedError(f"{url} did not answer properly ({error or type(error).__name__}); try again")


def problem(response: httpx.Response) -> OnCueError:
    """Turn a problem document into an error: what happened, and each place in the data that is to blame."""
    try:
        document = response.json()
        words = document.get("detail") or document["title"]
        misfits = [f"{each.get('pointer') or '#'}: {each.get('message', '')}" for each in document.get("errors") or ()]
        words += "".join(f"\n  {misfit}" for misfit in misfits if misfit not in words)
    except (ValueError, KeyError, AttributeError):
        words = f"the API answered {response.status_code} {response.reason_phrase}"
    return UsageError(words) if response.is_client_error else FailedError(words)


def _prefer(wait_s: float) -> dict[str, str]:
    return {"Prefer": f"wait={max(1, round(wait_s))}"} if wait_s > 0 else {}
