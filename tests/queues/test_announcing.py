"""What `oncue up` says of a source whose connection is not configured."""

from __future__ import annotations

from typing import Any

import pytest

from infra import announcing
from infra.settings import Settings
from runtime.authoring.triggers import QueueTrigger


def told() -> str:
    """What is said of a function that has just been deployed with one source."""
    function: dict[str, Any] = {
        "name": "take",
        "summary": "",
        "triggers": [QueueTrigger(url="kafka://event-bus/orders").model_dump()],
        "options": {"secrets": [], "optional_secrets": {}},
    }
    after = {"folders": {"take": {"version": "v1", "functions": [function]}}, "problems": []}
    lines = announcing.changes(announcing.EMPTY, after, Settings())
    return "\n".join("".join(part if isinstance(part, str) else part[0] for part in line) for line in lines)


def test_a_connection_that_is_not_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable to set is named, until it is set."""
    monkeypatch.delenv("ONCUE_CONNECTION_EVENT_BUS", raising=False)
    assert "set ONCUE_CONNECTION_EVENT_BUS: kafka://event-bus/orders cannot be read without" in told()
    monkeypatch.setenv("ONCUE_CONNECTION_EVENT_BUS", "host:9092")
    assert "ONCUE_CONNECTION_EVENT_BUS" not in told()
    Settings.load()
