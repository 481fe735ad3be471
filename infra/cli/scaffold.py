"""`oncue new NAME`: a function folder that works at once."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

from infra.cli.errors import UsageError
from infra.settings import Settings

_HANDLER = '''"""{title}."""

from runtime import Context, function, http


@function(timeout="30s", retries=3)
@http("POST /hooks/{name}")
def {name}(name: str = "world", *, ctx: Context) -> dict[str, str]:
    """Greet somebody by name."""
    ctx.log.info("greeting %s", name)
    return {{"greeting": f"Hello, {{name}}!"}}
'''

_TEST = '''"""Run them with: ./just test {folder}"""

from pathlib import Path

from runtime import Context
from runtime.testing import load

{name} = load(Path(__file__).parents[1]).{name}


def test_a_name_is_greeted() -> None:
    """A handler is a plain callable: a test calls it, and reads what it returns."""
    assert {name}("Ada", ctx=Context()) == {{"greeting": "Hello, Ada!"}}
'''

_README = """# {name}

    oncue invoke {name} name=Ada --wait
    oncue invoke {name} @{folder}/event.json --wait
    curl -d @{folder}/event.json -H 'Content-Type: application/json' {url}/hooks/{name}

The handler is in `__init__.py`. What it needs beyond the standard library goes into `requirements.txt`.
"""


def make_folder(name: str, functions: Path | None) -> None:
    """Write the folder and say what to do with it.

    Raises:
        UsageError: the name cannot name a function, or there is such a folder.
    """
    settings = Settings.load(functions=functions)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or keyword.iskeyword(name) or name in ("runtime", "name", "load"):
        raise UsageError(f"{name!r} cannot name a function; use lower-case letters, digits and '_', like resize_image")
    folder = settings.functions / name
    if folder.exists():
        raise UsageError(f"{folder} is there already; choose another name, or remove it")
    words = {"name": name, "title": name.replace("_", " ").capitalize(), "folder": folder, "url": settings.base_url}
    files = {
        "tests/test_handler.py": _TEST,
        "event.json": '{{\n  "name": "Ada"\n}}\n',
        "README.md": _README,
        # Last: a watching `oncue up` meets a whole folder.
        "__init__.py": _HANDLER,
    }
    try:
        for file, text in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.format(**words))
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error
    sys.stdout.write(
        f"made {folder}\n"
        f"  handler  {folder / '__init__.py'}\n"
        f"  test     ./just test {folder}\n"
        f"  try it   oncue invoke {name} @{folder / 'event.json'} --wait\n"
    )
