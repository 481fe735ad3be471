"""`oncue cron …`: what fires when."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.commands.options import AsJson, Url

cron = typer.Typer(help="Show schedules, fire one now, pause and resume; say what an expression means.")


@cron.callback(invoke_without_command=True)
def cron_list(context: typer.Context, url: Url = None, as_json: AsJson = False) -> None:
    """Without a command: list the schedules with their next fires."""
    if context.invoked_subcommand is None:
        from infra.cli.timing import show_schedules

        show_schedules(url, as_json=as_json)


@cron.command("next")
def cron_next(
    expression: str,
    timezone: Annotated[str, typer.Option(help="IANA name, like Europe/Paris")] = "UTC",
    count: Annotated[int, typer.Option("--count", "-n", help="How many fires", min=1, max=1000)] = 5,
    as_json: AsJson = False,
) -> None:
    """Say what an expression means, and when it fires next."""
    from infra.cli.timing import preview_expression

    preview_expression(expression, timezone, count, as_json=as_json)


@cron.command("fire")
def cron_fire(id: str, url: Url = None, as_json: AsJson = False) -> None:
    """Run a schedule's function now."""
    from infra.cli.timing import change_schedule

    change_schedule(url, id, "fire", as_json=as_json)


@cron.command("pause")
def cron_pause(id: str, url: Url = None, as_json: AsJson = False) -> None:
    """Fire nothing until the schedule is resumed."""
    from infra.cli.timing import change_schedule

    change_schedule(url, id, "pause", as_json=as_json)


@cron.command("resume")
def cron_resume(id: str, url: Url = None, as_json: AsJson = False) -> None:
    """Let a paused schedule go on with its next slot."""
    from infra.cli.timing import change_schedule

    change_schedule(url, id, "resume", as_json=as_json)
