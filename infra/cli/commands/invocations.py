"""Functions and what became of them: invoked, waited for, read, followed, cancelled, replayed."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.commands.options import AsJson, Output, Url, Wait


def list_functions(url: Url = None, as_json: AsJson = False) -> None:
    """List the functions that are served, and the folders that are not."""
    from infra.cli.reading import show_functions

    show_functions(url, as_json=as_json)


def invoke(
    name: str,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE | KEY=@FILE | @FILE]...", help="Data: by name, from files, or one file as the body"),
    ] = None,
    wait: Wait = None,
    output: Output = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key: a repeat answers with the same invocation")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Invoke a function; print its id, or with --wait its result."""
    from infra.cli.invoking import invoke_function

    invoke_function(url, name, arguments or [], wait_s=wait, output=output, key=key, as_json=as_json)


def get(
    id: str,
    wait: Wait = None,
    output: Output = None,
    given: Annotated[bool, typer.Option("--input", help="Print the event it is for, as JSON")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show an invocation; with -o, write its result to a file (- is stdout)."""
    from infra.cli.invoking import show_input, show_invocation

    if given:
        return show_input(url, id)
    return show_invocation(url, id, wait_s=wait, output=output, as_json=as_json)


def logs(
    id: str,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the invocation has ended")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Print an invocation's log lines, progress and states."""
    from infra.cli.reading import show_logs

    show_logs(url, id, follow=follow, as_json=as_json)


def invocations(
    function: Annotated[str | None, typer.Option(help="Only of this function")] = None,
    status: Annotated[str | None, typer.Option(help="Only in this state: queued, running, failed, …")] = None,
    since: Annotated[str | None, typer.Option(help="Only those accepted since then, like 2026-01-31T12:00:00Z")] = None,
    limit: Annotated[int, typer.Option(help="How many at most", min=1, max=1000)] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List invocations, the newest first."""
    from infra.cli.reading import show_invocations

    show_invocations(url, function=function, status=status, since=since, limit=limit, as_json=as_json)


def cancel(id: str, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel an invocation; one that runs is ended."""
    from infra.cli.operating import cancel_invocation

    cancel_invocation(url, id, as_json=as_json)


def replay(id: str, url: Url = None, as_json: AsJson = False) -> None:
    """Invoke a failed invocation anew, with the same data."""
    from infra.cli.operating import replay_invocation

    replay_invocation(url, id, as_json=as_json)


def send(
    type: Annotated[str, typer.Argument(help="The event's name, like image.uploaded")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE | KEY=@FILE | @FILE]...", help="Data: by name, from files, or one file as the data"),
    ] = None,
    source: Annotated[str, typer.Option(help="Where it comes from: a URI or a path")] = "/oncue/send",
    id: Annotated[str | None, typer.Option(help="Its id; a repeat of source and id is taken once (default: a new one)")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Publish an event; every function that subscribes to it runs."""
    from infra.cli.operating import send_event

    send_event(url, type, arguments or [], source=source, id=id, as_json=as_json)
