"""Function folders: made, inspected, deployed, taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.commands.options import AsJson, Functions, Url


def new(name: str, functions: Functions = None) -> None:
    """Make a function folder: a handler, a test that passes, and a sample event."""
    from infra.cli.scaffold import make_folder

    make_folder(name, functions)


def inspect(folder: Path, as_json: AsJson = False) -> None:
    """Show what a function folder declares, or why it cannot serve."""
    from infra.cli.showing import show_inspection

    raise typer.Exit(show_inspection(folder, as_json=as_json))


def deploy(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Function folders; with --all, folders of them")],
    every: Annotated[bool, typer.Option("--all", help="Deploy every folder below DIR")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Change nothing; say what would change")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Run events/smoke.json of the folder before the switch")] = False,
    adopt: Annotated[bool, typer.Option("--adopt", help="Move what waits to the new version, where its data fits")] = False,
    percent: Annotated[int | None, typer.Option(help="Give it this share of new invocations", min=1, max=99)] = None,
    allow_missing_secrets: Annotated[
        bool, typer.Option("--allow-missing-secrets", help="Deploy although a declared secret has no value")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Deploy function folders to a running OnCue, without a restart."""
    from infra.cli.deploying import Options, deploy_folders

    options = Options(plan, smoke, adopt, allow_missing_secrets, percent)
    raise typer.Exit(deploy_folders(url, folders, options, every=every, as_json=as_json))


def rollback(
    folder: str,
    version: Annotated[str | None, typer.Argument(help="The version, or how it begins (default: the one before)")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Serve an earlier version of a folder; end a share that was given with deploy --percent."""
    from infra.cli.deploying import roll_back

    roll_back(url, folder, version, as_json=as_json)


def promote(
    folder: str,
    percent: Annotated[int | None, typer.Option(help="Only this share of new invocations", min=1, max=99)] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Have the version that was deployed with --percent serve everything."""
    from infra.cli.deploying import promote as promote_candidate

    promote_candidate(url, folder, percent, as_json=as_json)


def undeploy(folder: str, url: Url = None) -> None:
    """Serve nothing of a folder any more; accepted invocations still run."""
    from infra.cli.deploying import undeploy as undeploy_folder

    undeploy_folder(url, folder)


def versions(
    folder: Annotated[str | None, typer.Argument(help="Without one: what every folder serves")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of a folder with their open work and success rates."""
    from infra.cli.versions import show_versions

    show_versions(url, folder, as_json=as_json)


def diff(folder: str, old: str, new: str, url: Url = None, as_json: AsJson = False) -> None:
    """Show how two versions of a folder differ: functions, triggers and files."""
    from infra.cli.versions import show_diff

    show_diff(url, folder, old, new, as_json=as_json)
