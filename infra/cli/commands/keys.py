"""`oncue key …`: who may ask."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.commands.options import AsJson

key = typer.Typer(help="Make, list and revoke API keys, on this instance's Redis.", no_args_is_help=True)


@key.command("new")
def key_new(
    name: Annotated[str, typer.Argument(help="Who holds it; a name may have two live keys, for rotation")],
    scope: Annotated[
        list[str] | None, typer.Option(help="What it opens: invoke:NAME, invoke:*, read, operate or deploy; may be repeated")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="How long it lives, like 90d or 12h (default: for ever)")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and show it this one time."""
    from infra.cli.keys import make_key

    make_key(name, scope or [], expires, as_json=as_json)


@key.command("ls")
def key_ls(as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    from infra.cli.keys import show_keys

    show_keys(as_json=as_json)


@key.command("revoke")
def key_revoke(id: str) -> None:
    """Revoke a key by its id: it opens nothing from now on."""
    from infra.cli.keys import revoke_key

    revoke_key(id)
