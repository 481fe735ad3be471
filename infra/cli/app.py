"""The command line put together: every command, in the order in which help shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from infra.cli.commands import edge, folders, invocations, running
from infra.cli.commands.dead_letters import dead
from infra.cli.commands.keys import key
from infra.cli.commands.schedules import cron

COMMANDS: tuple[Callable[..., None], ...] = (
    running.up,
    running.dev,
    folders.new,
    folders.inspect,
    folders.deploy,
    folders.rollback,
    folders.promote,
    folders.undeploy,
    folders.versions,
    folders.diff,
    invocations.list_functions,
    invocations.invoke,
    invocations.send,
    invocations.get,
    invocations.logs,
    invocations.invocations,
    invocations.cancel,
    invocations.replay,
    edge.verify,
    edge.audit,
    edge.openapi,
    running.web,
    running.worker,
    running.triggers,
)

#: What other tools call it -> what it is called here.
MEANT = {
    **dict.fromkeys(("ls", "functions"), "list"),
    **dict.fromkeys(("status", "show", "result"), "get"),
    **dict.fromkeys(("run", "call"), "invoke"),
    **dict.fromkeys(("start", "serve"), "up"),
    **dict.fromkeys(("ps", "jobs", "history"), "invocations"),
    **dict.fromkeys(("init", "create"), "new"),
    **dict.fromkeys(("emit", "publish"), "send"),
    "retry": "replay",
    "schedules": "cron",
}


class _Commands(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in MEANT:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {MEANT[args[0]]!r}?")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="oncue",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # rich would take half of the start-up time
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"oncue {version('oncue')}")
        raise typer.Exit


@app.callback()
def _oncue(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version")
    ] = False,
) -> None:
    """Runs small Python functions when something happens, on your own machines."""


for command in COMMANDS:
    # Said as `short_help`, a line is wrapped; taken from the docstring it would be cut off.
    app.command(command.__name__.removesuffix("_functions"), short_help=command.__doc__)(command)
for name, group in (("dead", dead), ("cron", cron), ("key", key)):
    app.add_typer(group, name=name, short_help=group.info.help)


def asked_for(words: list[str]) -> typer.Typer:
    """Return the command line for these words; when they begin with a command, with that one alone: each takes time to make."""
    commands = [command for command in app.registered_commands if command.name in words[:1]]
    groups = [group for group in app.registered_groups if group.name in words[:1]]
    if commands or groups:
        app.registered_commands, app.registered_groups = commands, groups
    return app
