"""What passes the HTTP edge: refused webhooks explained, the audit, the API described."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.commands.options import AsJson, Url


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


def audit(
    limit: Annotated[int, typer.Option(help="How many at most", min=1, max=10_000)] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List who asked for what and whether it was let in, the newest first."""
    from infra.cli.reading import show_audit

    show_audit(url, limit=limit, as_json=as_json)


def openapi(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file")] = None, url: Url = None
) -> None:
    """Print the OpenAPI document of what is served: every function with its schema."""
    from infra.cli.reading import show_openapi

    show_openapi(url, output)
