"""`/v1/deployments`: folders come as zip archives, are deployed by this process, and are rolled back.

POST /v1/deployments?folder=thumbnail     the zip of a folder's content; without `folder=` a zip of one folder

    plan=1  smoke=1  adopt=1  allow_missing_secrets=1  percent=10       how (docs/deploying.md)
    who=ada@desk  commit=9f2c…  dirty=1                                 what the history says

Who accepts `application/x-ndjson` is told of each step as it begins: {"step": "install"}, and in the end
{"report": {…}} or {"problem": {…}}.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar

import structlog
from redis.exceptions import RedisError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from runtime.authoring.errors import DeclarationError
from runtime.ledger.following import AWAY
from runtime.ledger.wire import LedgerUnavailableError, unavailable
from runtime.versions.archive import read_archive
from runtime.versions.deployer import Deployer, RefusedError, Wishes
from runtime.versions.history import Origin
from runtime.versions.pack import MAX_BYTES
from runtime.versions.store import VersionGoneError
from triggers.http.answers import Answer, ProblemError, encode_json, json_answer
from triggers.http.deployment_documents import (
    deployed_document,
    deployments_document,
    diff_document,
    report_document,
    versions_document,
)
from triggers.http.exchange import EXCHANGE, ClientGoneError
from triggers.http.query import read_names

#: The largest archive.
MAX_ARCHIVE_BYTES = MAX_BYTES + 8 * 2**20
#: What comes of an archive up to this size is held in memory; the rest goes to a file without a name.
SPOOL_BYTES = 2**20

_STEPS = "application/x-ndjson"
_TYPES = ("application/zip", "application/x-zip-compressed", "application/octet-stream")
_WISHES = ("plan", "smoke", "adopt", "allow_missing_secrets", "percent")
_ORIGIN = ("who", "commit", "dirty")

_log = structlog.get_logger("oncue.deployments")

Step = Callable[[str], None]
T = TypeVar("T")


class Deployments:
    """The endpoints that deploy."""

    def __init__(self, deployer: Deployer, refresh: Callable[[], Awaitable[None]]) -> None:
        """`refresh`: has the edge serve what is deployed now; who has been answered meets what was asked for."""
        self._deployer = deployer
        self._refresh = refresh
        # One deploy at a time: each may hold a folder's whole content in memory.
        self._turn = ThreadPoolExecutor(1, thread_name_prefix="deployments")

    def routes(self) -> list[Route]:
        """Return their routes."""
        own = "/v1/deployments/{folder}"
        return [
            Route("/v1/deployments", self.all, methods=["GET", "POST"]),
            Route(own, self.folder, methods=["GET", "DELETE"]),
            Route(f"{own}/diff", self.diff, methods=["GET"]),
            Route(f"{own}/rollback", self.rollback, methods=["POST"]),
            Route(f"{own}/promote", self.promote, methods=["POST"]),
        ]

    async def all(self, request: Request) -> Answer | StreamingResponse:
        """Answer what is deployed, or deploy."""
        if request.method == "POST":
            return await self.deploy(request)
        return json_answer(200, await self._asked(lambda: deployments_document(self._deployer)))

    async def folder(self, request: Request) -> Answer:
        """Answer a folder's versions and history, or deploy nothing of it any more."""
        folder = request.path_params["folder"]
        if request.method == "DELETE":
            origin = _origin(request, read_names(request, _ORIGIN))
            await self._done(lambda: self._deployer.undeploy(folder, origin))
            return Answer(204, b"")
        document = await self._asked(lambda: versions_document(self._deployer, folder))
        if document is None:
            raise ProblemError(404, "unknown-folder", f"nothing of {folder[:100]!r} was ever deployed")
        return json_answer(200, document)

    async def diff(self, request: Request) -> Answer:
        """Answer how two versions differ."""
        query = read_names(request, ("from", "to"))
        if query.keys() != {"from", "to"}:
            raise ProblemError(400, "invalid-query", "say which versions: from= and to=")
        folder = request.path_params["folder"]
        return json_answer(200, await self._asked(lambda: diff_document(self._deployer, folder, query["from"], query["to"])))

    async def rollback(self, request: Request) -> Answer:
        """Serve an earlier version: `version=`, or the one that was live before."""
        query = read_names(request, ("version", *_ORIGIN))
        folder, origin = request.path_params["folder"], _origin(request, query)
        deployed = await self._done(lambda: self._deployer.rollback(folder, query.get("version") or None, origin))
        return json_answer(200, deployed_document(deployed))

    async def promote(self, request: Request) -> Answer:
        """Have a folder's candidate serve everything, or `percent=` of what comes."""
        query = read_names(request, ("percent", *_ORIGIN))
        folder, origin, percent = request.path_params["folder"], _origin(request, query), _percent(query)
        deployed = await self._done(lambda: self._deployer.promote(folder, origin, percent=percent))
        return json_answer(200, deployed_document(deployed))

    async def deploy(self, request: Request) -> Answer | StreamingResponse:
        """Deploy an archive, or say what that would change."""
        query = read_names(request, ("folder", *_WISHES, *_ORIGIN))
        wishes, origin, folder = _wishes(query), _origin(request, query), query.get("folder") or None
        archive = await _received(request)

        def work(step: Step) -> dict[str, Any]:
            with archive:
                packed = read_archive(archive, folder)
            return report_document(self._deployer.deploy(packed, origin, wishes, step))

        if _STEPS in request.headers.get("accept", ""):
            return StreamingResponse(self._steps(request, work), media_type=_STEPS)
        report = await self._done(lambda: work(lambda _: None), self._turn)
        return json_answer(201 if report["changed"] else 200, report)

    async def _steps(self, request: Request, work: Callable[[Step], dict[str, Any]]) -> AsyncIterator[bytes]:
        loop, told = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any]]()

        def step(name: str) -> None:
            loop.call_soon_threadsafe(told.put_nowait, {"step": name})

        async def end() -> dict[str, Any]:
            request_id = request.scope[EXCHANGE].request_id.decode()
            try:
                return {"report": await self._done(lambda: work(step), self._turn)}
            except ProblemError as error:
                problem = error
            except LedgerUnavailableError as error:
                problem = ProblemError(503, "ledger-unavailable", f"{error}; see what is served, and try again")
            except Exception as error:  # noqa: BLE001  # the stream has begun: whoever reads it waits for its last line
                _log.error("a deployment failed", request_id=request_id, exc_info=error)
                detail = "the deployment failed by a defect of the server; the log has it by request_id"
                problem = ProblemError(500, "internal-error", detail)
            return {"problem": problem.document(request.url.path, request_id)}

        ended = asyncio.create_task(end())
        ended.add_done_callback(lambda task: told.put_nowait(task.result()))
        while True:
            line = await told.get()
            yield encode_json(line) + b"\n"
            if "step" not in line:
                return

    async def _done(self, work: Callable[[], T], turn: ThreadPoolExecutor | None = None) -> T:
        """Have something changed, and serve what came of it before the answer goes out.

        A rollback takes no turn: it must not wait for somebody's import or installation, which may take minutes.
        """
        done = await _in_thread(work, turn)
        with contextlib.suppress(*AWAY):  # Redis has just gone away; the change is made, and will be heard of
            await self._refresh()
        return done

    async def _asked(self, work: Callable[[], T]) -> T:
        return await _in_thread(work, None)


async def _in_thread(work: Callable[[], T], threads: ThreadPoolExecutor | None) -> T:
    """Return what `work` returns, or raise what it raises as the problem that it is."""
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
    except RefusedError as error:
        status = 404 if error.code in ("unknown-folder", "unknown-version") else 400
        raise _refusal(status, error.code, str(error), error.problem.model_dump()) from error
    except DeclarationError as error:
        place = {"file": error.file, "line": error.line, "reason": error.message}
        raise _refusal(400, "invalid-archive", error.message, place) from error
    except VersionGoneError as error:
        raise ProblemError(410, "version-gone", str(error)) from error
    except (RedisError, ConnectionError, TimeoutError) as error:
        raise unavailable(error) or error from error
    except OSError as error:
        raise _host_failed(error) from error


def _host_failed(error: OSError) -> ProblemError:
    return ProblemError(500, "host-failed", f"the deploying host could not go on: {error}; mend that, and try again")


def _refusal(status: int, code: str, detail: str, place: dict[str, Any]) -> ProblemError:
    return ProblemError(status, code, f"{detail}; nothing has changed", **place)


async def _received(request: Request) -> IO[bytes]:
    """Return the body as a file, counted while it comes.

    Raises:
        ProblemError: 413 or 415.
        ClientGoneError: the caller hung up.
    """
    media_type = request.headers.get("content-type", _TYPES[0]).partition(";")[0].strip().lower()
    if media_type not in _TYPES or request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(415, "unsupported-media-type", f"a folder comes as a zip archive: Content-Type: {_TYPES[0]}")
    _check_size(int(request.headers.get("content-length", "0")))
    file = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115  # closed by who reads it, in another thread
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            _check_size(size)
            file.write(part)
    except BaseException as error:
        file.close()
        if isinstance(error, ClientDisconnect):
            raise ClientGoneError from None
        if isinstance(error, OSError):  # no room for what comes
            raise _host_failed(error) from error
        raise
    file.seek(0)
    return file


def _check_size(size: int) -> None:
    if size > MAX_ARCHIVE_BYTES:
        raise ProblemError(413, "archive-too-large", f"an archive has at most {MAX_ARCHIVE_BYTES:,} bytes")


def _wishes(query: dict[str, str]) -> Wishes:
    return Wishes(
        plan_only=_is_set(query, "plan"),
        smoke=_is_set(query, "smoke"),
        adopt=_is_set(query, "adopt"),
        allow_missing_secrets=_is_set(query, "allow_missing_secrets"),
        percent=_percent(query),
    )


def _percent(query: dict[str, str]) -> int | None:
    text = query.get("percent")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= 99:
        raise ProblemError(400, "invalid-query", "percent is a number from 1 to 99; leave it out for all")
    return int(text)


def _origin(request: Request, query: dict[str, str]) -> Origin:
    # The holder of a key is who the key says.
    caller = request.scope[EXCHANGE].caller.name
    return Origin(caller or query.get("who", "")[:200], query.get("commit", "")[:64], _is_set(query, "dirty"))


def _is_set(query: dict[str, str], name: str) -> bool:
    value = query.get(name, "0").lower()
    if value not in ("0", "1", "true", "false"):
        raise ProblemError(400, "invalid-query", f"{name} is 0 or 1")
    return value in ("1", "true")
