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
def dev(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR...]", help="Function folders, or a folder of them (ONCUE_FUNCTIONS)")
    ] = None,
    port: Port = None,
    data: Data = None,
    workers: Workers = None,
) -> None:
    """Like up, for working on functions: every save is served within a second, and every log line is shown."""
    from infra.cli.developing import develop

    raise typer.Exit(develop(folders or [], port=port, data=data, workers=workers))


@app.command()
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


@app.command()
def rollback(
    folder: str,
    version: Annotated[str | None, typer.Argument(help="The version, or how it begins (default: the one before)")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Serve an earlier version of a folder; end a share that was given with deploy --percent."""
    from infra.cli.deploying import roll_back

    roll_back(url, folder, version, as_json=as_json)


@app.command()
def promote(
    folder: str,
    percent: Annotated[int | None, typer.Option(help="Only this share of new invocations", min=1, max=99)] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Have the version that was deployed with --percent serve everything."""
    from infra.cli.deploying import promote as promote_candidate

    promote_candidate(url, folder, percent, as_json=as_json)


@app.command()
def undeploy(folder: str, url: Url = None) -> None:
    """Serve nothing of a folder any more; accepted invocations still run."""
    from infra.cli.deploying import undeploy as undeploy_folder

    undeploy_folder(url, folder)


@app.command()
def versions(
    folder: Annotated[str | None, typer.Argument(help="Without one: what every folder serves")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of a folder with their open work and success rates."""
    from infra.cli.versions import show_versions

    show_versions(url, folder, as_json=as_json)


@app.command()
def diff(folder: str, old: str, new: str, url: Url = None, as_json: AsJson = False) -> None:
    """Show how two versions of a folder differ: functions, triggers and files."""
    from infra.cli.versions import show_diff

    show_diff(url, folder, old, new, as_json=as_json)


@app.command()
def web() -> None:
    """Run the web process alone."""
    from infra.process import run

    run("web")


@app.command()
def worker(index: Annotated[int, typer.Option(help="Tells the workers of one machine apart")] = 0) -> None:
    """Run one worker process alone."""
    from infra.process import run

    run("worker", str(index))


@app.command()
def triggers() -> None:
    """Run the triggers process alone: schedules and queue sources. Safe to run twice."""
    from infra.process import run

    run("triggers")


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


@app.command()
def cancel(id: str, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel an invocation; one that runs is ended."""
    from infra.cli.operating import cancel_invocation

    cancel_invocation(url, id, as_json=as_json)


@app.command()
def replay(id: str, url: Url = None, as_json: AsJson = False) -> None:
    """Invoke a failed invocation anew, with the same data."""
    from infra.cli.operating import replay_invocation

    replay_invocation(url, id, as_json=as_json)


@app.command()
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


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="The function")],
    request: Annotated[
        str, typer.Argument(metavar="@REQUEST", help="A file with the request as it came, or as JSON; @- is stdin")
    ],
    route: Annotated[str | None, typer.Option(help="Which of its routes, like /hooks/github")] = None,
    at: Annotated[str | None, typer.Option(help="When it came, like 2026-01-31T09:00:00Z (default: now)")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Explain why a stored webhook request is refused, by this host's secrets."""
    from infra.cli.verifying import verify_request

    raise typer.Exit(verify_request(url, name, request, route=route, at=at, as_json=as_json))


dead = typer.Typer(help="List, replay and drop dead letters: what has failed.", no_args_is_help=True)
app.add_typer(dead, name="dead")

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
        return drop_dead_letter(url, id, filters)
    return drop_dead_letters(url, filters, dry_run=dry_run, everything=everything, as_json=as_json)


@app.command()
def audit(
    limit: Annotated[int, typer.Option(help="How many at most", min=1, max=10_000)] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List who asked for what and whether it was let in, the newest first."""
    from infra.cli.reading import show_audit

    show_audit(url, limit=limit, as_json=as_json)


@app.command()
def openapi(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file")] = None, url: Url = None
) -> None:
    """Print the OpenAPI document of what is served: every function with its schema."""
    from infra.cli.reading import show_openapi

    show_openapi(url, output)


cron = typer.Typer(help="Show schedules, fire one now, pause and resume; say what an expression means.")
app.add_typer(cron, name="cron")


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


key = typer.Typer(help="Make, list and revoke API keys. Works on this instance's Redis.", no_args_is_help=True)
app.add_typer(key, name="key")


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
