"""What the benchmarks run: functions that do nothing, so that only OnCue's own cost is seen."""

import time

from runtime import function


@function(retries=0)
def noop() -> None:
    """Do nothing."""


@function(retries=0)
def started() -> float:
    """Return when the handler began, by the wall clock."""
    return time.time()
