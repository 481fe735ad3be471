"""What the documentation says is so: its handler runs, and no setting and no command is missing from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from infra.cli.app import app
from infra.settings import Settings, variable
from runtime import Context
from runtime.authoring.inspection import inspect
from runtime.authoring.manifest import Manifest
from runtime.testing import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
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


def commands() -> list[str]:
    """The commands of `oncue`, groups included."""
    return sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a Typer is a click group


@pytest.mark.parametrize("command", commands())
def test_every_command_is_described(command: str) -> None:
    """Each command of `oncue` is named somewhere in the documentation."""
    assert any(re.search(rf"oncue {command}\b", page) or f"`{command}`" in page for page in DOCS)


def test_links_lead_somewhere() -> None:
    """Every relative link and picture of the README and the docs is there."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
