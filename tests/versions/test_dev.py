"""`oncue dev` at a terminal: a save is served at once, a broken one keeps what was served, and a key runs things again."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.running import ONCUE, make_function
from tests.versions.deploying import greeting

Eventually = Callable[..., object]

_STYLES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """`oncue dev` in a terminal of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
        environment = {**kept, "ONCUE_PORT": "0", "ONCUE_DATA": str(folder / "data"), "TERM": "xterm"}
        pid, self._terminal = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.execve(ONCUE, [ONCUE, "dev", *words], environment)
        self.pid = pid
        self.text = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._terminal, 4096)
            except OSError:  # the other end is gone
                return
            self.text = _STYLES.sub("", self.text + part.decode(errors="replace")).replace("\r\n", "\n")

    def press(self, key: str) -> None:
        os.write(self._terminal, key.encode())

    @property
    def url(self) -> str:
        found = re.search(r"serves at (http://[0-9.:]+)", self.text.replace("\n", ""))
        assert found is not None, self.text
        return found[1]

    def stop(self) -> int:
        """Press Ctrl-C and wait for the end."""
        self.press("\x03")
        ends = time.monotonic() + 20
        while (done := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > ends:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.02)
        self._reader.join()
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(done[1])


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    make_function(tmp_path / "functions", "other")
    return make_function(tmp_path / "functions", "hello", greeting("one")).parent


@pytest.fixture
def dev(functions: Path, eventually: Eventually) -> Iterator[Terminal]:
    terminal = Terminal(functions.parent, str(functions / "hello"))
    eventually(lambda: "POST" in terminal.text and "/hooks" not in terminal.text.partition("greet")[0], 30)
    yield terminal
    assert terminal.stop() == 0


def greet(dev: Terminal) -> str:
    answer = httpx.post(f"{dev.url}/v1/functions/greet", json={}, headers={"Prefer": "wait=10"}, timeout=20)
    return str(answer.json())


def test_working_on_a_folder(dev: Terminal, functions: Path, eventually: Eventually) -> None:
    """Saves are served and told by what has changed; a broken one by file, line and reason; r runs the last one again."""
    assert greet(dev) == "one"
    assert httpx.post(f"{dev.url}/v1/functions/other", json={}).status_code == 404  # only the folder that was named
    assert "r runs the last invocation again; Ctrl-C stops" in dev.text
    source = functions / "hello" / "__init__.py"
    source.write_text(greeting("two", more="@on('a.b')\ndef listens() -> None: ..."))
    eventually(lambda: greet(dev) == "two", 5)
    told = dev.text.partition("hello is now at version")[2]
    assert "● listens" in told
    assert "● greet" not in told
    source.write_text("def x(:\n")
    eventually(lambda: "__init__.py:1: SyntaxError: invalid syntax" in dev.text.replace("\n", ""), 5)
    assert "its previous version goes on serving until this is mended" in dev.text
    assert greet(dev) == "two"
    source.write_text(greeting("three"))
    eventually(lambda: "− listens is gone" in dev.text, 5)
    before = dev.text.count("succeeded")
    dev.press("r")
    eventually(lambda: "greet runs again as default-" in dev.text, 5)
    eventually(lambda: dev.text.count("succeeded") > before, 5)
    newest = httpx.get(f"{dev.url}/v1/invocations", params={"limit": 1}).json()["invocations"][0]
    assert newest["function"] == "greet"
    assert newest["replay_of"]


def test_folders_that_cannot_be_worked_on_together(tmp_path: Path) -> None:
    """They must lie in one folder, and be there."""
    one, two = make_function(tmp_path / "a", "one"), make_function(tmp_path / "b", "two")

    def dev(*folders: Path) -> str:
        done = subprocess.run([ONCUE, "dev", *map(str, folders)], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 2
        return done.stderr

    assert "lie in different folders; run oncue dev once for each" in dev(one, two)
    assert "is not a folder" in dev(tmp_path / "none")
