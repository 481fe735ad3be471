"""The chaos scenarios, shortened: a lease of 2 s, and seconds instead of minutes. `just chaos` plays them in full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.playing import SCENARIOS, Scenario, play

SHORT = [pytest.param(each, id=each.name.replace(" ", "_")) for each in SCENARIOS if each.is_short]

#: The same in every run; `just chaos` draws another one each time.
SEED = 1


@pytest.mark.parametrize("scenario", SHORT)
def test_nothing_is_lost(scenario: Scenario, tmp_path: Path) -> None:
    """What the scenario's docstring says holds, and so does all that the checker looks at."""
    if lacks := scenario.lacks():
        assert not os.environ.get("CI"), lacks
        pytest.skip(lacks)
    outcome = play(scenario, seed=SEED, is_short=True, folder=tmp_path / "stage")
    assert outcome.findings.violations == []
    assert outcome.findings.accepted > 0
