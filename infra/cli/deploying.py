"""`oncue deploy`, and what undoes it: packs folders here, has the API deploy them, and shows each step and the plan."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from infra.announcing import trigger_words
from infra.cli.api import Api, problem, unreachable
from infra.cli.errors import FailedError, UsageError
from infra.cli.showing import console, print_facts, print_json, styled
from runtime.authoring.errors import DeclarationError
from runtime.versions.archive import write_archive
from runtime.versions.pack import is_left_out, pack

if TYPE_CHECKING:
    from rich.text import Text

#: Seconds that one step may take without a word: the longest is an installation.
STEP_WITHIN_S = 700.0

_SIGNS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("−", "red")}
_STEPS = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Options:
    """How to deploy, as the command line says it."""

    plan: bool = False
    smoke: bool = False
    adopt: bool = False
    allow_missing_secrets: bool = False
    percent: int | None = None

    def query(self) -> dict[str, str]:
        switches = {name: "1" for name in ("plan", "smoke", "adopt", "allow_missing_secrets") if getattr(self, name)}
        return switches | ({"percent": str(self.percent)} if self.percent is not None else {})


def deploy_folders(url: str | None, folders: list[Path], options: Options, *, every: bool, as_json: bool) -> int:
    """Deploy folders one after the other; return the exit code. `every`: the folders below those that are named."""
    wanted = [below for folder in folders for below in (_folders_of(folder) if every else [folder])]
    api, reports, failed = Api(url), list[dict[str, Any]](), False
    for folder in wanted:
        try:
            report = _deploy(api, _named(folder), options, quiet=as_json)
        except KeyboardInterrupt:
            words = "a deployment that has begun goes on where OnCue runs; oncue versions tells what is served"
            sys.stderr.write(f"\noncue: {words}\n")
            raise
        except (UsageError, FailedError) as error:
            if len(wanted) == 1:
                raise
            failed = True
            sys.stderr.write(f"oncue: {error}\n")
            continue
        reports.append(report)
        if not as_json:
            _show_report(report, options)
    if as_json:
        print_json(reports if every or len(wanted) > 1 else reports[0])
    return 1 if failed else 0


def roll_back(url: str | None, folder: str, version: str | None, *, as_json: bool) -> None:
    """Serve an earlier version of a folder."""
    query = {"who": _who(), **({"version": version} if version else {})}
    _show_served(_post(Api(url), f"/v1/deployments/{quote(folder, safe='')}/rollback", query), as_json=as_json)


def promote(url: str | None, folder: str, percent: int | None, *, as_json: bool) -> None:
    """Have the version that is being rolled out serve everything, or a larger share."""
    query = {"who": _who(), **({"percent": str(percent)} if percent is not None else {})}
    _show_served(_post(Api(url), f"/v1/deployments/{quote(folder, safe='')}/promote", query), as_json=as_json)


def undeploy(url: str | None, folder: str) -> None:
    """Serve nothing of a folder any more."""
    Api(url).delete(f"/v1/deployments/{quote(folder, safe='')}", who=_who())
    sys.stdout.write(f"{folder} is no longer served; oncue rollback {folder} brings it back\n")


def _deploy(api: Api, folder: Path, options: Options, *, quiet: bool) -> dict[str, Any]:
    if folder.is_file():
        raise UsageError(f"{folder} is a file; deploy the folder that it lies in: oncue deploy {folder.parent}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; a function lives in a folder of its own, like {folder.name}/__init__.py")
    try:
        archive = write_archive(pack(folder))
    except (DeclarationError, OSError) as error:
        raise UsageError(f"{folder.name}: {error}") from error
    query = {"folder": folder.name, **options.query(), **_origin(folder)}
    began, step = time.monotonic(), ""
    for line in _lines(api, archive, query):
        now, screen = time.monotonic(), console(stderr=True)
        if step and not quiet:
            mark = ("✗", "red") if "problem" in line else ("✓", "green")
            screen.print(styled("  ", mark, f" {step:<8}", (f" {now - began:6.2f} s", "dim")))
        if "problem" in line:
            detail = line["problem"].get("detail") or line["problem"]["title"]
            raise UsageError(detail) if line["problem"]["status"] < 500 else FailedError(detail)
        if "report" in line:
            report: dict[str, Any] = line["report"]
            return report
        step, began = line["step"], now
        if screen.is_terminal and not quiet:
            screen.print(styled(f"  … {step}"), end="\r")
    raise FailedError("the answer ended before the deployment did; see oncue versions for what is served")


def _lines(api: Api, archive: bytes, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    headers = {"Accept": _STEPS, "Content-Type": "application/zip"}
    try:
        with api.send_stream("/v1/deployments", archive, query, headers, STEP_WITHIN_S) as response:
            if not response.is_success:
                response.read()
                raise problem(response)
            for line in response.iter_lines():
                yield json.loads(line)
    except httpx.TransportError as error:
        raise unreachable(api.url, error) from error


def _post(api: Api, path: str, query: dict[str, str]) -> dict[str, Any]:
    answer = api.post(path, content=b"", media_type="application/json", query=query, wait_s=0, key=None)
    document: dict[str, Any] = answer.json()
    return document


def _show_served(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return print_json(document)
    candidate = document["candidate"]
    print_facts(
        [
            ("folder", document["folder"]),
            ("serves", document["version"]),
            ("candidate", f"{candidate['version']} ({candidate['percent']} %)" if candidate else None),
        ]
    )
    return None


def _show_report(report: dict[str, Any], options: Options) -> None:
    plan, screen = report["plan"], console()
    before = plan["from"][:12] if plan["from"] else "nothing"
    screen.print(styled((plan["folder"], "bold"), f"  {before} → ", (plan["version"][:12], "bold")))
    for line in plan_lines(plan):
        screen.print(line)
    for misfit in report["misfits"]:
        screen.print(styled((f"  {misfit['id']} stays on its version: {misfit['reason']}", "yellow")))
    if report["adopted"]:
        screen.print(f"  {report['adopted']} waiting invocations run on it now")
    if options.plan:
        screen.print(styled(("nothing was changed (--plan)", "dim")))
    elif not report["changed"] and not report["adopted"]:
        screen.print(styled(("it is served already; nothing was changed", "dim")))
    elif report["percent"] is not None:
        screen.print(
            f"it gets {report['percent']} % of new invocations; then: oncue promote or oncue rollback {plan['folder']}"
        )


def plan_lines(plan: dict[str, Any]) -> Iterator[Text]:
    """Say a plan in lines: what is added, changed and removed, the next fires, and what stands in the way."""
    for function in plan["functions"]:
        details = f"  {', '.join(function['details'])}" if function["details"] else ""
        yield styled("  ", _SIGNS[function["change"]], f" function {function['name']}{details}")
    for trigger in plan["triggers"]:
        words = trigger_words(trigger["trigger"])
        yield styled("  ", _SIGNS[trigger["change"]], f" trigger  {trigger['function']}: {words}")
    files = plan.get("files", {})
    for kind in ("added", "changed", "removed"):
        if names := files.get(kind):
            yield styled("  ", _SIGNS[kind], " files    ", (_few(names), "dim"))
    for fire in plan.get("fires", ()):
        moments = ", ".join(each["local"].replace("T", " ") for each in fire["next"])
        yield styled("  ⏲ ", f"{fire['function']}: {fire['words']}; next ", (moments, "dim"))
    for missing in plan.get("missing_secrets", ()):
        yield styled((f"  ! ONCUE_SECRET_{missing['name']} is not set ({missing['function']})", "yellow"))
    for clash in plan.get("clashes", ()):
        yield styled((f"  ✗ {clash}", "red"))


def _few(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _folders_of(root: Path) -> Iterable[Path]:
    try:
        found = [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith((".", "_"))]
    except OSError as error:
        raise UsageError(f"{root} cannot be read: {error.strerror}") from error
    if not found:
        raise UsageError(f"{root} holds no folders; --all deploys every folder below it")
    return sorted(found)


def _origin(folder: Path) -> dict[str, str]:
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"who": _who()}
    # What git is told to ignore is deployed all the same, but for what every version leaves out.
    ignored = _git(folder, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", ".")
    changes = _git(folder, "status", "--porcelain", "--", ".")
    is_clean = changes == "" and ignored is not None and all(map(is_left_out, filter(None, ignored.split("\0"))))
    return {"who": _who(), "commit": commit, "dirty": "0" if is_clean else "1"}


def _named(folder: Path) -> Path:
    return folder.resolve() if folder.name in ("", "..") else folder.absolute()  # a folder's name is a function folder's name


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False)  # noqa: S607  # the person's own git
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # no such user in the container
        return socket.gethostname()
