"""A running `oncue up` and other processes, watched from outside; and function folders to give them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ONCUE = str(Path(sys.executable).with_name("oncue"))
Eventually = Callable[..., object]

HANDLER = 'from runtime import http\n@http("POST /hooks/{name}")\ndef {name}(word: str = "x") -> str:\n    "Say {name}."\n    return word\n'


class Running:
    """A started process: its lines so far, and its descendants."""

    def __init__(self, process: subprocess.Popen[str], *, read: bool = True) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        if read:
            self.read()

    def read(self) -> None:
        """Begin to read what it prints."""
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def has(self, words: str) -> bool:
        """Tell whether a line so far holds `words`."""
        return any(words in line for line in self.lines)

    def descendants(self) -> set[int]:
        """The pids of every process below it."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
        found, frontier = set(), {self.process.pid}
        while frontier := {pid for pid, parent in parents.items() if parent in frontier}:
            found |= frontier
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = 20.0) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.wait(within_s)

    def wait(self, within_s: float = 20.0) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(within_s)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def are_gone(pids: set[int]) -> bool:
    """Tell whether none of the processes runs any more."""
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                return False
        except (FileNotFoundError, ProcessLookupError):
            continue
    return True


def make_function(functions: Path, name: str, source: str | None = None) -> Path:
    """Write a function folder with one handler, or with `source`."""
    folder = functions / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text(HANDLER.replace("{name}", name) if source is None else source)
    return folder


class OnCue:
    """A running `oncue up`, and the command line that speaks to it."""

    def __init__(self, environment: dict[str, str], folder: Path, program: str = ONCUE) -> None:
        self.environment = environment
        self.folder = folder
        self.program = program
        process = subprocess.Popen(
            [program, "up"], env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.up = Running(process)

    @property
    def url(self) -> str:
        return next(found[1] for line in self.up.lines if (found := re.search(r"serves at (http://\S+)", line)))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, "ONCUE_URL": self.url}
        return subprocess.run(
            [self.program, *words], env=environment, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )

    def json(self, *words: str) -> object:
        answer = self.run(*words, "--json")
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)


def start(environment: dict[str, str], folder: Path, program: str = ONCUE) -> OnCue:
    """Run `oncue up` and wait until it serves; what it said instead is told."""
    oncue = OnCue(environment, folder, program)
    ends = time.monotonic() + 60
    while not oncue.up.has("serves at"):
        if oncue.up.process.poll() is not None or time.monotonic() > ends:
            oncue.up.process.kill()
            pytest.fail("`oncue up` did not serve; it said:\n" + "\n".join(oncue.up.lines))
        time.sleep(0.01)
    return oncue
