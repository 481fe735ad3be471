import io
import json
import os
import pty

import pytest
from rich.console import Console

from infra.feed import MAX_LINES_PER_S, Feed


def finished(number: int = 0, **more: object) -> bytes:
    line = {"kind": "finished", "id": f"id{number}", "function": "thumbnail", "status": "succeeded", "duration_ms": 34.2}
    return json.dumps({**line, "attempt": 1, "error": None, **more}, separators=(",", ":")).encode()


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def feed(screen: io.StringIO) -> Feed:
    return Feed(Console(file=screen, width=200, soft_wrap=True))


def test_a_finished_invocation(feed: Feed, screen: io.StringIO) -> None:
    """Its line has the function, the outcome, the time it took and the id; no colour codes in a file."""
    feed.output("worker 0", finished(7))
    feed.close()
    assert screen.getvalue().split()[1:] == ["thumbnail", "succeeded", "34", "ms", "id7"]
    assert "\x1b" not in screen.getvalue()


def test_a_failed_attempt(feed: Feed, screen: io.StringIO) -> None:
    """Its line has the attempt and the error; square brackets in it are no markup."""
    feed.output("worker 0", finished(status="failed", attempt=4, duration_ms=2500, error="ValueError: [red] is bad"))
    feed.close()
    assert screen.getvalue().rstrip().endswith("failed        2.5 s  id0  attempt 4  ValueError: [red] is bad")


def test_more_invocations_than_anybody_reads(feed: Feed, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second shows its first lines, and then how many more there were and how they ended."""
    now = 1000.0
    monkeypatch.setattr("infra.feed.time.monotonic", lambda: now)
    for number in range(1000):
        feed.output("worker 0", finished(number, status="failed" if number >= 990 else "succeeded"))
    now = 1001.0
    feed.output("worker 0", finished(1000))
    feed.close()
    lines = screen.getvalue().splitlines()
    assert len(lines) == MAX_LINES_PER_S + 2
    assert lines[-2].strip() == "… 950 more in the last second: 940 succeeded, 10 failed"
    assert lines[-1].endswith("id1000")


@pytest.mark.parametrize(
    "line", ["hello", '{"kind":"other","id":1}', '{"kind":"finished"', "[bold]x[/bold]", '{"event": "log"}']
)
def test_a_line_of_another_kind(feed: Feed, screen: io.StringIO, line: str) -> None:
    """It is passed on as it is, under the name of who said it."""
    feed.output("web", line.encode())
    feed.close()
    assert screen.getvalue() == f"web │ {line}\n"


def test_bytes_that_are_no_text(feed: Feed, screen: io.StringIO) -> None:
    """They are shown with replacement characters."""
    feed.output("web", b"\xff\xfe ok")
    feed.close()
    assert screen.getvalue() == "web │ �� ok\n"


def test_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours, unless NO_COLOR is set."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for no_color, coloured in ((None, True), ("1", False)):
        if no_color:
            monkeypatch.setenv("NO_COLOR", no_color)
        else:
            monkeypatch.delenv("NO_COLOR", raising=False)
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "w") as terminal:
            feed = Feed(Console(file=terminal, width=200))
            feed.output("worker 0", finished())
            feed.close()
            shown = os.read(ours, 4096)
        os.close(ours)
        assert (b"\x1b[32m" in shown) is coloured


def test_a_reader_that_has_gone() -> None:
    """A closed pipe ends the printing, not the one who prints."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    pipe = os.fdopen(write_end, "w", buffering=1)
    feed = Feed(Console(file=pipe, width=200))
    for number in range(100):
        feed.output("worker 0", finished(number))
    feed.close()
    pipe.close()
