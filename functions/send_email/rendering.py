"""Renders `templates/NAME.html` and `templates/NAME.txt`; values are escaped in HTML."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound, select_autoescape

from runtime import GiveUp

FOLDER = Path(__file__).parent / "templates"


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER), autoescape=select_autoescape(["html"]), undefined=StrictUndefined, trim_blocks=True
    )


def render(name: str, values: dict[str, Any], text: str | None, html: str | None) -> tuple[str | None, str | None]:
    """Return text and HTML from the template of that name; what is given beside it stays.

    Raises:
        GiveUp: there is no such template, or it needs a value that is missing.
    """
    known = {path.stem for path in FOLDER.iterdir() if re.fullmatch(r"[a-z0-9_-]+\.(?:html|txt)", path.name)}
    if name not in known:
        raise GiveUp(f"there is no template {name!a}; there are {', '.join(sorted(known))}")
    return (_render(f"{name}.txt", values) if text is None else text, _render(f"{name}.html", values) if html is None else html)


def _render(file: str, values: dict[str, Any]) -> str | None:
    try:
        return _environment().get_template(file).render(values)
    except TemplateNotFound:
        return None
    except (TemplateError, TypeError, ValueError) as error:
        raise GiveUp(f"the template {file} does not fit these values: {error}") from error
