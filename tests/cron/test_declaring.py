"""What a folder with schedules is refused for when it is inspected."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.authoring.errors import DeclarationError
from runtime.authoring.inspector import inspect_folder

HEAD = "from pydantic import BaseModel\nfrom datetime import datetime\nfrom runtime import Context, Event, cron, http\n"


def inspect(tmp_path: Path, source: str) -> None:
    folder = tmp_path / f"folder_{abs(hash(source))}"
    folder.mkdir()
    (folder / "__init__.py").write_text(HEAD + source)
    inspect_folder(folder, folder.name)


@pytest.mark.parametrize(
    "source",
    [
        "@cron('@daily')\ndef report(ctx: Context): ...",
        "@cron('@daily')\ndef report(): ...",
        "@cron('@daily')\ndef report(event: Event, width: int = 3): ...",
        "@cron(every='30s')\ndef report(scheduled_for: datetime, schedule: str): ...",
        "@cron('@daily')\ndef report(**rest): ...",
        "@cron('@daily')\n@cron('@daily', timezone='Europe/Paris')\ndef report(): ...",
    ],
)
def test_a_handler_that_a_schedule_can_call(tmp_path: Path, source: str) -> None:
    """A handler without parameters, with defaults, or with the two that a schedule fills, is fine."""
    inspect(tmp_path, source)


@pytest.mark.parametrize(
    ("source", "parameter"),
    [
        ("@cron('@daily')\ndef report(width: int): ...", "'width'"),
        ("@cron('@daily')\n@http('POST /report')\ndef report(image: bytes, width: int = 1): ...", "'image'"),
        ("@cron('@daily')\ndef report(schedule: int): ...", "'schedule'"),
        ("class Order(BaseModel):\n    number: int\n@cron('@daily')\ndef report(order: Order): ...", "'number'"),
    ],
)
def test_a_handler_that_a_schedule_cannot_call(tmp_path: Path, source: str, parameter: str) -> None:
    """A required parameter that a schedule's event does not fill is refused, by name and with the cure."""
    with pytest.raises(DeclarationError, match=r"a schedule fills no parameters but .* give it a default") as refusal:
        inspect(tmp_path, source)
    assert f"'report' has {parameter}" in refusal.value.message
    assert refusal.value.line is not None


def test_a_schedule_that_is_said_twice(tmp_path: Path) -> None:
    """Two equal schedules of one function would be one: the second is refused."""
    with pytest.raises(DeclarationError, match="declares one schedule twice"):
        inspect(tmp_path, "@cron('0 0 * * *')\n@cron('@daily')\ndef report(): ...")
