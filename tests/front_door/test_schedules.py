"""Schedules as a person meets them: declared in a folder, fired by `oncue up`, seen and steered with `oncue cron`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.running import Eventually, OnCue, make_function, start

TICKING = """
from runtime import Event, cron

@cron(every="1s")
def tick(event: Event) -> str:
    "Say when."
    return event.data["scheduled_for"]

@cron("0 9 * * MON-FRI", timezone="Europe/Paris")
def report() -> None:
    "Report."
"""


@pytest.fixture(scope="module")
def oncue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCue]:
    """`oncue up` over a folder with two schedules."""
    folder = tmp_path_factory.mktemp("schedules")
    make_function(folder / "functions", "ticking", TICKING)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    oncue = start({**kept, "ONCUE_PORT": "0"}, folder)
    yield oncue
    assert oncue.up.stop() == 0


def invocations(oncue: OnCue, function: str) -> list[Any]:
    """The invocations of a function so far."""
    found: list[Any] = httpx.get(f"{oncue.url}/v1/invocations", params={"function": function}).json()["invocations"]
    return found


def test_a_schedule_that_fires(oncue: OnCue, eventually: Eventually) -> None:
    """A function with a schedule runs by itself, once for each slot, and knows which slot it runs for."""
    eventually(lambda: sum(i["status"] == "succeeded" for i in invocations(oncue, "tick")) >= 3, 30)
    done = [i for i in invocations(oncue, "tick") if i["status"] == "succeeded"]
    slots = [httpx.get(f"{oncue.url}/v1/invocations/{i['id']}/result").json() for i in done]
    assert len(set(slots)) == len(slots)


def test_the_list_of_schedules(oncue: OnCue) -> None:
    """`oncue cron` says what each schedule means and when it fires next."""
    printed = oncue.run("cron").stdout
    assert "At 09:00 on Monday through Friday, Europe/Paris" in printed
    assert "Every second" in printed


def test_a_schedule_fired_by_hand(oncue: OnCue, eventually: Eventually) -> None:
    """`oncue cron fire` runs a schedule's function now."""
    report = next(s["id"] for s in httpx.get(f"{oncue.url}/v1/schedules").json()["schedules"] if s["function"] == "report")
    fired: Any = oncue.json("cron", "fire", report)
    eventually(lambda: httpx.get(f"{oncue.url}/v1/invocations/{fired['id']}").json()["status"] == "succeeded", 20)


def test_a_schedule_that_is_not_there(oncue: OnCue) -> None:
    """An unknown schedule is named, with the command that lists them."""
    done = oncue.run("cron", "pause", "nothing:0")
    assert done.returncode == 2
    assert "no deployed function has the schedule 'nothing:0'" in done.stderr


def test_what_an_expression_means(oncue: OnCue) -> None:
    """`oncue cron next` gives fires in local and universal time, across a change of clocks."""
    preview: Any = oncue.json("cron", "next", "30 2 29 3 *", "--timezone", "Europe/Paris", "-n", "1")
    assert preview["words"].startswith("At 02:30")
    assert len(preview["next"]) == 1
