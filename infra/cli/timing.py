"""`oncue cron`: the schedules of what is deployed, and what an expression means."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from infra.cli.api import Api
from infra.cli.errors import UsageError
from infra.cli.showing import print_facts, print_json, print_table


def show_schedules(url: str | None, *, as_json: bool) -> None:
    """Print every schedule: what it means, when it fires next, what it missed."""
    # cronsim is loaded where schedules are put into words only.
    from triggers.cron.words import until

    document = Api(url).get("/v1/schedules").json()
    if as_json:
        return print_json(document)
    rows = []
    for schedule in document["schedules"]:
        upcoming = schedule["next"][0] if schedule["next"] else None
        soon = (
            "paused" if schedule["paused"] else f"{_clock(upcoming['local'])} ({until(upcoming['in_s'])})" if upcoming else "-"
        )
        words = f"{schedule['words']}, {schedule['timezone']}"
        rows.append((schedule["id"], words, soon, str(schedule["fired"]), str(schedule["missed"])))
    return print_table(("SCHEDULE", "MEANS", "NEXT", "FIRED", "MISSED"), rows)


def change_schedule(url: str | None, schedule_id: str, change: str, *, as_json: bool) -> None:
    """Fire, pause or resume a schedule, and print what came of it."""
    document: dict[str, Any] = Api(url).change("POST", f"/v1/schedules/{schedule_id}/{change}").json()
    if as_json:
        print_json(document)
    elif change == "fire":
        print_facts([("id", document["id"]), ("status", document["status"])])
    else:
        print_facts([("schedule", document["id"]), ("paused", "yes" if document["paused"] else "no")])


def preview_expression(expression: str, timezone: str, count: int, *, as_json: bool) -> None:
    """Print what an expression means and when it fires next, in local and in universal time."""
    from triggers.cron.words import ScheduleError, preview, until

    try:
        document = preview(expression, timezone, count=count)
    except ScheduleError as error:
        raise UsageError(str(error)) from error
    if as_json:
        return print_json(document)
    print_facts([("schedule", document["schedule"]), ("means", document["words"]), ("timezone", timezone)])
    rows = ((_clock(fire["local"]), _clock(fire["utc"]), until(fire["in_s"])) for fire in document["next"])
    return print_table(("LOCAL", "UTC", ""), rows)


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%a %Y-%m-%d %H:%M:%S %z")
