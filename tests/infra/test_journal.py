"""What the processes log."""

from __future__ import annotations

import subprocess
import sys

FAILING = """
import structlog
from infra import journal

journal.configure("info")
log = structlog.get_logger("test")

def connect(password):
    raise ConnectionError("no route")

log.debug("too fine")
try:
    connect("hunter2")
except ConnectionError:
    log.exception("cannot connect", host="db")
"""


def test_a_traceback_without_values() -> None:
    """An exception is logged with its traceback, on standard error, and no variable's value is in it."""
    done = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "cannot connect" in done.stderr
    assert "host=db" in done.stderr
    assert "ConnectionError: no route" in done.stderr
    assert "hunter2" not in done.stderr.replace('connect("hunter2")', "")
    assert "too fine" not in done.stderr
