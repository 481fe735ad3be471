"""`oncue versions` and `oncue diff`: what was deployed of a folder, and how two of its versions differ."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from infra.cli.api import Api
from infra.cli.deploying import plan_lines
from infra.cli.showing import console, moment, print_json, print_table, styled

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def show_versions(url: str | None, folder: str | None, *, as_json: bool) -> None:
    """Print a folder's versions, newest first; without a folder what every folder serves."""
    if folder is None:
        return _show_served(url, as_json=as_json)
    document = Api(url).get(f"/v1/deployments/{quote(folder, safe='')}").json()
    if as_json:
        return print_json(document)
    print_table(
        ("VERSION", "SERVES", "DEPLOYED", "WHO", "COMMIT", "OPEN", "DEAD", "SUCCEEDED"),
        (
            (
                version["version"],
                _share(version),
                moment(version["deployed_at"]),
                version["who"],
                _commit(version),
                str(version["open"]),
                str(version["dead_letters"]),
                "-" if version["success_rate"] is None else f"{version['success_rate']:.1%} of {_ended(version):,}",
            )
            for version in document["versions"]
        ),
    )
    return None


def _show_served(url: str | None, *, as_json: bool) -> None:
    document = Api(url).get("/v1/deployments").json()
    if as_json:
        return print_json(document)
    print_table(
        ("FOLDER", "VERSION", "CANDIDATE", "DEPLOYED", "WHO", "COMMIT"),
        (
            (
                each["folder"],
                each["version"],
                f"{each['candidate']['version'][:12]} {each['candidate']['percent']} %" if each["candidate"] else "-",
                moment(each["deployed_at"]),
                each["who"],
                _commit(each),
            )
            for each in document["deployments"]
        ),
    )
    return None


def show_diff(url: str | None, folder: str, old: str, new: str, *, as_json: bool) -> None:
    """Print how two versions of a folder differ."""
    query: dict[str, Any] = {"from": old, "to": new}
    document = Api(url).get(f"/v1/deployments/{quote(folder, safe='')}/diff", **query).json()
    if as_json:
        return print_json(document)
    screen = console()
    for line in plan_lines(document):
        screen.print(line)
    for text in document["diff"].splitlines():
        screen.print(styled((text, _STYLES.get(text[:1], ""))), soft_wrap=True)
    if not document["diff"]:
        sys.stdout.write("the two versions are the same\n")
    return None


def _share(version: dict[str, Any]) -> Text | str:
    if version["percent"] is not None:
        return styled((f"{version['percent']} %", "yellow"))
    return styled(("yes", "green")) if version["is_live"] else "-"


def _commit(document: dict[str, Any]) -> str:
    commit = document["commit"]
    return f"{commit[:10]}{' (dirty)' if document['dirty'] else ''}" if commit else "-"


def _ended(version: dict[str, Any]) -> int:
    health: dict[str, int] = version["health"]
    return health["succeeded"] + health["retrying"] + health["failed"]
