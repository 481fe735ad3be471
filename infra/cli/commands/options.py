"""The options that several commands share: each is said, and explained, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[str | None, typer.Option("--url", help="Where the API is (default: ONCUE_URL, else ONCUE_HOST and ONCUE_PORT)")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the result to this file")]
Wait = Annotated[float | None, typer.Option("--wait", help="Wait for the end, this many seconds (bare: 60)", min=0)]

Port = Annotated[int | None, typer.Option(help="Port to serve on; 0 takes a free one (ONCUE_PORT)")]
Data = Annotated[Path | None, typer.Option(help="Folder of everything OnCue keeps (ONCUE_DATA)")]
Functions = Annotated[Path | None, typer.Option(help="Folder of function folders (ONCUE_FUNCTIONS)")]
Workers = Annotated[int | None, typer.Option(help="Worker processes (ONCUE_WORKERS)")]
