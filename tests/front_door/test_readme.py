"""README.md, followed line by line by a stranger: what it says happens."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.running import ONCUE, OnCue, make_function, start

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
#: Ids in the README are of its writer's invocations.
ID = re.compile(r"default-01m7[a-z0-9]{22}|(?<= )ID(?= )")


def section(heading: str) -> str:
    return re.split(r"^## ", README.partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0]


def steps(heading: str) -> list[tuple[str, str]]:
    """The commands of a section, each with what the README says it prints."""
    blocks = re.findall(r"```console\n(.*?)```", section(heading), re.DOTALL)
    text = "".join(blocks).replace("\\\n", " ")
    return [(command, printed.strip()) for command, printed in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", text, re.MULTILINE)]


@pytest.fixture(scope="module")
def oncue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCue]:
    """`oncue up` over the four functions and the README's own, and a photo to ask about."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "functions", folder / "functions", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    for name, source in zip(
        ("greet", "triage"), re.findall(r"```python\n([^`]*?^def [^`]*)```", README, re.DOTALL | re.MULTILINE), strict=True
    ):
        make_function(folder / "functions", name, source)
    Image.new("RGB", (1200, 900), "teal").save(folder / "photo.jpg")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    oncue = start({**kept, "ONCUE_PORT": "0", "ONCUE_SECRET_GITHUB_SECRET": "s3cret"}, folder)
    yield oncue
    assert oncue.up.stop() == 0


def follow(oncue: OnCue, heading: str) -> list[tuple[str, str, str]]:
    """Run a section's commands in one shell each; return command, what the README says, and what came."""
    told: list[tuple[str, str, str]] = []
    known = "none"
    signature = ""
    environment = {**oncue.environment, "ONCUE_URL": oncue.url, "PATH": f"{Path(ONCUE).parent}:{os.environ['PATH']}"}
    for command, printed in steps(heading):
        if "./just" in command:
            continue
        script = (
            ID.sub(known, command).replace("localhost:8080", oncue.url).replace(".venv/bin/", "").replace("curl ", "curl -s ")
        )
        if command.startswith("signature="):
            signature = script
            continue
        ran = subprocess.run(
            ["bash", "-c", f"{signature}\n{script}"],
            cwd=oncue.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, (command, ran.stderr)
        if found := re.search(r"default-[0-9a-z]{26}", ran.stdout):
            known = found[0]
        told.append((command, printed, ran.stdout))
    return told


def test_asking_for_something(oncue: OnCue) -> None:
    """Each command does what it says: files of their kind, the very JSON that is printed, and an id that leads to it."""
    told = follow(oncue, "Ask for something")
    printed = {command: (said, came) for command, said, came in told}
    text = next(pair for command, pair in printed.items() if "Prefer" in command and "f.u.c.k" in command)
    assert json.loads(text[1]) == json.loads(text[0])
    mail = next(pair for command, pair in printed.items() if "send_email" in command)
    assert json.loads(mail[1]).keys() == json.loads(mail[0]).keys()
    accepted = next(pair for command, pair in printed.items() if "curl -i" in command)
    assert accepted[1].splitlines()[0].strip() == accepted[0].splitlines()[0]
    result = next(pair for command, pair in printed.items() if command.endswith("/result"))
    assert json.loads(result[1]) == json.loads(text[0])
    with Image.open(oncue.folder / "small.jpg") as small:
        assert small.size == (300, 225)
    assert (oncue.folder / "sales.pdf").read_bytes().startswith(b"%PDF-")


def test_event_and_webhook(oncue: OnCue) -> None:
    """The event is taken by the function that is printed; the delivery that is signed is accepted, and its result the printed one."""
    (_, taken, published), *_, (_, accepted, came), (_, result, got) = follow(oncue, "Schedules, events, queues, webhooks")
    assert all(part in published for part in taken.split("…")), published
    assert json.loads(came)["status"] == "queued"
    assert '"status":"queued"' in accepted
    assert json.loads(got) == json.loads(result)
