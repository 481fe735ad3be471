"""Prints for people: JSON, tables, one-line facts. Colour only on a terminal, and not where NO_COLOR is set.

rich takes a tenth of a command's start: it is imported when there is something to print, and the request is out by then.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Characters that the last column of a table has at least.
LAST_COLUMN_WIDTH = 20

STATUS_STYLES = {"succeeded": "green", "failed": "red", "retrying": "yellow", "running": "cyan", "cancelled": "dim"}


def console(*, stderr: bool = False) -> Console:
    """Return the console of stdout, or of stderr; a file or a pipe gets lines as long as they are."""
    from rich.console import Console

    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(highlight=False, stderr=stderr, soft_wrap=not is_terminal, width=None if is_terminal else 1000)


def styled(*parts: str | tuple[str, str] | Text) -> Text:
    """Return words, and (words, style), as one line."""
    from rich.text import Text

    return Text.assemble(*parts)


def print_json(document: Any) -> None:
    """Print a document: indented on a terminal and in pipes alike, so that both look the same."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def print_json_line(document: Any) -> None:
    """Print a document as one line of a stream."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Iterable[str | Text]]) -> None:
    """Print rows below their headings.

    Only the last column wraps. Where the others leave it no room, lines are longer than the terminal is wide: they are
    broken there, and nothing is cut off.
    """
    from rich.cells import cell_len
    from rich.table import Table

    cells = [[styled(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    *fixed, last = columns
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in fixed:
        table.add_column(column, no_wrap=True)
    table.add_column(last, overflow="fold")
    for row in cells:
        table.add_row(*row)
    widths = (
        max([len(column), *(cell_len(line) for row in cells for line in row[index].plain.split("\n"))]) + 2
        for index, column in enumerate(fixed)
    )
    screen = console()
    screen.width = max(screen.width, sum(widths) + LAST_COLUMN_WIDTH)
    screen.print(table, crop=False)


def moment(text: str | None) -> str:
    """Say a time of the API's: in a pipe as it is; on a terminal the time of the last 24 hours, else the date, both local."""
    if text is None or not sys.stdout.isatty():
        return text or ""
    local = datetime.fromisoformat(text).astimezone()
    return f"{local:%H:%M:%S}" if datetime.now().astimezone() - local < timedelta(days=1) else f"{local:%Y-%m-%d}"


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, one a line; leaves out what is None."""
    screen = console()
    for name, value in facts:
        if value is not None:
            style = STATUS_STYLES.get(value, "") if name == "status" else ""
            screen.print(styled((f"{name:<12}", "dim"), (str(value), style)))


def write_file(path: Path, content: bytes) -> None:
    """Write what `--output` asks for.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def status_text(status: str) -> Text:
    return styled((status, STATUS_STYLES.get(status, "")))


def show_inspection(folder: Path, *, as_json: bool) -> int:
    """Inspect a folder, print its manifest or its problem; return the exit code."""
    # Reading and invoking do without these.
    from infra.announcing import trigger_words
    from infra.cli.progress import Progress
    from runtime.authoring.inspection import inspect
    from runtime.authoring.manifest import Problem

    with Progress(f"importing {folder}"):
        found = inspect(folder.absolute())
    if isinstance(found, Problem):
        if as_json:
            print_json({"problem": found.model_dump(mode="json")})
        else:
            sys.stderr.write(f"oncue: {found}\n")
        return 1
    document = found.model_dump(mode="json", by_alias=True)
    if as_json:
        print_json(document)
        return 0
    for function in document["functions"]:
        options, inputs = function["options"], function["input_schema"].get("properties", {})
        print_facts(
            [
                ("function", function["name"]),
                ("declared", f"{folder / function['file']}:{function['line']}"),
                ("summary", function["summary"] or None),
                *(("trigger", trigger_words(trigger)) for trigger in function["triggers"]),
                ("parameters", ", ".join(inputs) or None),
                ("limits", f"{options['timeout_s']:g} s, {options['memory_bytes'] / 1e6:g} MB, {options['retries']} retries"),
                ("queue", options["queue"]),
                ("secrets", ", ".join([*options["secrets"], *options["optional_secrets"]]) or None),
            ]
        )
        sys.stdout.write("\n")
    return 0
