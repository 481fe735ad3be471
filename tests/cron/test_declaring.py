"""What a folder with schedules is refused for when it is inspected."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.authoring.errors import DeclarationError
from runtime.authoring.inspector import inspect_folder
from runtime.authoring.quantities import seconds

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


@pytest.mark.parametrize(
    ("declared", "jitter", "most"),
    [
        ("every='30s'", "30s", "30s"),
        ("'*/15 9-17 * * *'", "15m", "900s"),
        ("'0,59 * * * *'", "60s", "60s"),
        ("'0 0,23 * * *'", "1h", "3600s"),
        ("'0 9 * * MON-FRI'", "1d", "86400s"),
        ("'0 9 * * MON'", "1w", "604800s"),
        ("'@monthly'", "28d", "2419200s"),
    ],
)
def test_a_jitter_that_would_mix_up_slots(tmp_path: Path, declared: str, jitter: str, most: str) -> None:
    """A jitter as long as the smallest distance between two slots is refused, with that distance; a shorter one is not."""
    with pytest.raises(DeclarationError, match=rf"jitter=.* is not below {most}.* use a smaller jitter"):
        inspect(tmp_path, f"@cron({declared}, jitter='{jitter}')\ndef report(): ...")
    inspect(tmp_path, f"@cron({declared}, jitter={seconds(jitter) - 1:.10g})\ndef report(): ...")


def test_an_expression_of_the_most_characters(tmp_path: Path) -> None:
    """Five hundred are taken, one more is not."""
    inspect(tmp_path, f"@cron('{'1,' * 245}11 * * * *')\ndef report(): ...")
    with pytest.raises(DeclarationError, match="has 501 characters; keep it to 500"):
        inspect(tmp_path, f"@cron('{'1,' * 244}11,11 * * * *')\ndef report(): ...")


@pytest.mark.parametrize(
    ("expression", "cure"),
    [
        ("0 22-2 * * *", "the hour field '22-2' runs backwards (write 22-23,0-2)"),
        ("0 0 * * FRI-MON", "(write 5-7,0-1)"),
        ("0 0 ? * MON", "the day of month field '?' is not understood (write *); it takes 1–31, '*'"),
        (
            "0 0 L-3 * *",
            "the day of month field 'L-3' is not understood (there is no such day here: run on every day it may be",
        ),
        ("0 0 15W * *", "the day of month field '15W' is not understood (there is no such day here"),
        ("0 0 * * MON#6", "the day of week field 'MON#6' is not understood (the number behind # is 1 to 5)"),
        ("0 0 * * monday", "the day of week field 'monday' is not understood (write MON)"),
        ("/5 * * * *", "the minute field '/5' is not understood (write */5)"),
        ("*/60 * * * *", "the minute field '*/60' has a step beyond the field (write 0)"),
        ("5-9/61 * * * *", "the minute field '5-9/61' has a step beyond the field (write 5)"),
        ("1,,5 * * * *", "the minute field '' is not understood (something is missing beside a comma)"),
        ("0 0 0 1 * *", "leave the seconds out, or use every='30s'"),
        ("@reboot", "nothing boots here"),
        ("@every 5m", "write every='30s'"),
        ("\u0663 * * * *", "the minute field '\u0663' is not understood"),
        ("1," * 1000 + "1 * * * *", "has 2009 characters; keep it to 500"),
    ],
)
def test_an_expression_with_a_cure(tmp_path: Path, expression: str, cure: str) -> None:
    """What is refused says in which field, and what to write instead."""
    with pytest.raises(DeclarationError) as refusal:
        inspect(tmp_path, f"@cron({expression!r})\ndef report(): ...")
    assert cure in refusal.value.message


@pytest.mark.parametrize("zone", ["localtime", "posix/UTC", "right/UTC", "Europe", "utc", "../UTC", ""])
def test_a_timezone_that_means_nothing_everywhere(tmp_path: Path, zone: str) -> None:
    """Files that lie beside the zones are none: they mean another thing on another host, or count leap seconds."""
    with pytest.raises(DeclarationError, match="unknown timezone"):
        inspect(tmp_path, f"@cron('@daily', timezone={zone!r})\ndef report(): ...")
