"""`oncue dead …`: what has failed."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.commands.options import AsJson, Url

dead = typer.Typer(help="List, replay and drop dead letters: what has failed.", no_args_is_help=True)

OfFunction = Annotated[str | None, typer.Option("--function", help="Only of this function")]
OfFingerprint = Annotated[str | None, typer.Option("--fingerprint", help="Only of this cause")]
OfType = Annotated[str | None, typer.Option("--type", help="Only with this error: ValueError, …")]
Since = Annotated[str | None, typer.Option("--since", help="Only those that failed since then, like 2026-01-31T12:00:00Z")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which are meant, and change nothing")]
Everything = Annotated[bool, typer.Option("--all", help="Every one, when there is no filter")]


@dead.command("ls")
def dead_ls(
    function: OfFunction = None,
    fingerprint: OfFingerprint = None,
    type: OfType = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(help="How many at most", min=1, max=200)] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List what has failed, counted by its cause."""
    from infra.cli.operating import show_dead_letters

    filters = {"function": function, "fingerprint": fingerprint, "type": type, "since": since}
    show_dead_letters(url, filters, limit, as_json=as_json)


@dead.command("replay")
def dead_replay(
    function: OfFunction = None,
    fingerprint: OfFingerprint = None,
    type: OfType = None,
    since: Since = None,
    rate: Annotated[float | None, typer.Option(help="So many a second", min=0.001)] = None,
    dry_run: DryRun = False,
    everything: Everything = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Run what has failed again."""
    from infra.cli.operating import replay_dead_letters

    filters = {"function": function, "fingerprint": fingerprint, "type": type, "since": since}
    replay_dead_letters(url, filters, rate=rate, dry_run=dry_run, everything=everything, as_json=as_json)


@dead.command("drop")
def dead_drop(
    id: Annotated[str | None, typer.Argument(help="One dead letter")] = None,
    function: OfFunction = None,
    fingerprint: OfFingerprint = None,
    type: OfType = None,
    since: Since = None,
    dry_run: DryRun = False,
    everything: Everything = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Delete what has failed, with its data."""
    from infra.cli.operating import drop_dead_letter, drop_dead_letters

    filters = {"function": function, "fingerprint": fingerprint, "type": type, "since": since}
    if id is not None:
        return drop_dead_letter(url, id, filters, dry_run=dry_run, everything=everything)
    return drop_dead_letters(url, filters, dry_run=dry_run, everything=everything, as_json=as_json)
