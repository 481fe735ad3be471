"""The commands and their options; what they do is in the modules beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="oncue",
    help="Runs small Python functions when something happens, on your own machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # rich would take half of the start-up time
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Url = Annotated[str | None, typer.Option("--url", help="Where the API is (default: ONCUE_URL, else ONCUE_HOST and ONCUE_PORT)")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the result to this file")]
Wait = Annotated[float | None, typer.Option("--wait", help="Wait for the end, this many seconds (bare: 60)", min=0)]


Port = Annotated[int | None, typer.Option(help="Port to serve on; 0 takes a free one (ONCUE_PORT)")]
Data = Annotated[Path | None, typer.Option(help="Folder of everything OnCue keeps (ONCUE_DATA)")]
Functions = Annotated[Path | None, typer.Option(help="Folder of function folders (ONCUE_FUNCTIONS)")]
Workers = Annotated[int | None, typer.Option(help="Worker processes (ONCUE_WORKERS)")]


@app.command()
def up(port: Port = None, data: Data = None, functions: Functions = None, workers: Workers = None) -> None:
    """Run everything on this machine, and serve the functions folder. Ctrl-C stops."""
    from infra.cli.running import run_everything

    raise typer.Exit(run_everything(port=port, data=data, functions=functions, workers=workers))


@app.command()
def dev(port: Port = None, data: Data = None, functions: Functions = None, workers: Workers = None) -> None:
    """Like up, with every log line shown."""
    from infra.cli.running import run_everything

    raise typer.Exit(run_everything(port=port, data=data, functions=functions, workers=workers, log_level="debug"))


@app.command()
def web() -> None:
    """Run the web process alone."""
    from infra.process import run

    run("web")


@app.command()
def worker(index: Annotated[int, typer.Option(help="Tells the workers of one machine apart")] = 0) -> None:
    """Run one worker process alone."""
    from infra.process import run

    run("worker", index)


@app.command()
def new(name: str, functions: Functions = None) -> None:
    """Make a function folder: a handler, a test that passes, and a sample event."""
    from infra.cli.scaffold import make_folder

    make_folder(name, functions)


@app.command()
def inspect(folder: Path, as_json: AsJson = False) -> None:
    """Show what a function folder declares, or why it cannot serve."""
    from infra.cli.showing import show_inspection

    raise typer.Exit(show_inspection(folder, as_json=as_json))


@app.command("list")
def list_functions(url: Url = None, as_json: AsJson = False) -> None:
    """List the functions that are served, and the folders that are not."""
    from infra.cli.reading import show_functions

    show_functions(url, as_json=as_json)


@app.command()
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


@app.command()
def get(id: str, wait: Wait = None, output: Output = None, url: Url = None, as_json: AsJson = False) -> None:
    """Show an invocation; with -o, write its result to a file (- is stdout)."""
    from infra.cli.invoking import show_invocation

    show_invocation(url, id, wait_s=wait, output=output, as_json=as_json)


@app.command()
def logs(
    id: str,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the invocation has ended")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Print an invocation's log lines, progress and states."""
    from infra.cli.reading import show_logs

    show_logs(url, id, follow=follow, as_json=as_json)


@app.command()
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
