"""What the documentation says is so: its handler runs, and no setting and no command is missing from it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from infra.cli import _spell_out_wait
from infra.cli.app import app
from infra.settings import Settings, variable
from runtime import Context, Hmac
from runtime.authoring.inspection import inspect
from runtime.authoring.manifest import Manifest
from runtime.authoring.options import AUTHOR_UNITS, FunctionOptions
from runtime.authoring.triggers import CronTrigger, EventTrigger, HttpTrigger, QueueTrigger
from runtime.testing import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
#: The command line, as its group of commands.
GROUP: Any = typer.main.get_command(app)
DOCS = [README, *(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))]


def test_the_handler_of_the_readme(tmp_path: Path) -> None:
    """The README's handler is a folder that serves, with its three triggers, and stays a plain callable."""
    source = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert source is not None
    folder = tmp_path / "readme_greet"
    folder.mkdir()
    (folder / "__init__.py").write_text(source[1])
    manifest = inspect(folder)
    assert isinstance(manifest, Manifest), manifest
    (function,) = manifest.functions
    assert {trigger.kind for trigger in function.triggers} == {"http", "cron"}
    assert load(folder).greet("Ada", ctx=Context()) == {"greeting": "Hello, Ada!"}


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_described(name: str) -> None:
    """docs/settings.md has a row for each setting."""
    assert f"| `{variable(name)}` |" in (ROOT / "docs" / "settings.md").read_text()


def test_every_row_of_the_settings_is_one() -> None:
    """docs/settings.md describes no setting that there is not."""
    rows = re.findall(r"^\| `(ONCUE_[A-Z_]+)` \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert set(rows) == {variable(name) for name in Settings.model_fields}


def commands(group: Any = GROUP, *above: str) -> Iterator[str]:
    """The commands of `oncue`, as they are typed."""
    for name, command in sorted(group.commands.items()):
        yield " ".join((*above, name))
        if hasattr(command, "commands"):
            yield from commands(command, *above, name)


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_is_described(command: str) -> None:
    """Each command of `oncue` is named somewhere in the documentation, also as in `oncue dead ls|replay|drop`."""
    group, _, name = command.rpartition(" ")
    typed = rf"oncue {group} (?:\S+\|)*{name}\b" if group else rf"oncue {name}\b"
    assert any(re.search(typed, page.replace("\\|", "|")) for page in DOCS)


@pytest.mark.parametrize("model", [FunctionOptions, HttpTrigger, CronTrigger, EventTrigger, QueueTrigger, Hmac])
def test_every_option_is_described(model: type[BaseModel]) -> None:
    """Each option that an author may write is named in the documentation, as code."""
    written = {field: option for option, (field, _) in AUTHOR_UNITS.items()}
    options = {written.get(name, name) for name in model.model_fields} - {"kind", "method", "path", "type", "url", "expression"}
    code = re.findall(r"`[^`]+`|```.*?```", "\n".join(DOCS), re.DOTALL)
    assert [option for option in sorted(options) if not any(re.search(rf"\b{option}\b", each) for each in code)] == []


def typed() -> Iterator[str]:
    """Every command line with `oncue` in a block of the documentation."""
    for page in DOCS:
        for block in re.findall(r"^```(?:console|bash|sh)\n(.*?)^```|((?:^    \S.*\n)+)", page, re.DOTALL | re.MULTILINE):
            for line in "".join(block).replace("\\\n", " ").splitlines():
                if match := re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?oncue (.*)", line):
                    yield match[1]


@pytest.mark.parametrize("line", sorted(set(typed())))
def test_a_command_line_of_the_documentation(line: str) -> None:
    """The command is one, and takes the options and arguments it is given."""
    words = _spell_out_wait(shlex.split(re.split(r" [|>&;]", line)[0], comments=True))
    group: Any = GROUP
    while hasattr(group, "commands") and words and words[0] in group.commands:
        group, words = group.commands[words[0]], words[1:]
    assert group is not GROUP
    group.make_context(line, words)


def test_links_lead_somewhere() -> None:
    """Every relative link and picture of the README and the docs is there."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
