"""How soon a caller meets what was deployed, rolled back or saved: from the start of the command to the new answer."""

from __future__ import annotations

import http.client
import itertools
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from contestants import ONCUE, running
from figures import Figures, table

from runtime.versions.archive import write_archive
from runtime.versions.pack import Pack

LAPS = 7
SOURCE = 'from runtime import function\n\n\n@function(retries=0)\ndef greet() -> str:\n    return "{}"\n'


class Caller:
    """Calls `greet` over one connection and waits for its answer."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def hears(self) -> str:
        """Return what `greet` says now; the status line when it says nothing."""
        headers = {"Content-Type": "application/json", "Prefer": "wait=20"}
        self._connection.request("POST", "/v1/functions/greet", b"{}", headers)
        answer = self._connection.getresponse()
        body = answer.read().decode()
        return body.strip('"') if answer.status == 200 else f"{answer.status} {answer.reason}"

    def until(self, word: str, begun: float) -> float:
        """Call until the answer is `word`; return the seconds since `begun`."""
        while (heard := self.hears()) != word:
            if time.perf_counter() - begun > 20:
                raise RuntimeError(f"greet says {heard!r} after 20 seconds, and not {word!r}")
            time.sleep(0.005)
        return time.perf_counter() - begun


def measure() -> None:
    """Measure deploys and rollbacks by command and over HTTP, then saves under `oncue dev`."""
    words = (f"word {n}" for n in itertools.count())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "functions" / "hello"
        folder.mkdir(parents=True)
        _deploys(folder, words.__next__)
        _saves(folder, words.__next__)


def _deploys(folder: Path, word: Callable[[], str]) -> None:
    deploys: Figures = {"oncue deploy": [], "over HTTP": []}
    rollbacks: Figures = {"oncue rollback": [], "over HTTP": []}
    (empty := folder.parents[1] / "none").mkdir()
    with running("up", functions=empty) as port:
        url = f"http://127.0.0.1:{port}"
        caller = Caller(port)

        def command(*words: str, until: str) -> float:
            begun = time.perf_counter()
            environment = {**os.environ, "ONCUE_URL": url}
            process = subprocess.Popen(
                [ONCUE, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            took_s = caller.until(until, begun)
            output, _ = process.communicate(timeout=30)
            assert process.returncode == 0, output
            return took_s

        def request(client: httpx.Client, path: str, body: bytes, *, until: str) -> float:
            begun = time.perf_counter()
            client.post(path, content=body, headers={"Content-Type": "application/zip"}).raise_for_status()
            return caller.until(until, begun)

        with httpx.Client(base_url=url, timeout=30) as client:
            live = word()
            (folder / "__init__.py").write_text(SOURCE.format(live))
            command("deploy", str(folder), until=live)
            for _ in range(LAPS):
                (folder / "__init__.py").write_text(SOURCE.format(new := word()))
                deploys["oncue deploy"].append(command("deploy", str(folder), until=new))
                rollbacks["oncue rollback"].append(command("rollback", "hello", until=live) * 1000)
                archive = write_archive(Pack("hello", (("__init__.py", SOURCE.format(new := word()).encode()),)))
                deploys["over HTTP"].append(request(client, "/v1/deployments?folder=hello", archive, until=new))
                rollbacks["over HTTP"].append(request(client, "/v1/deployments/hello/rollback", b"", until=live) * 1000)
    for name, figures in deploys.items():
        table(f"deploy a changed folder, {name}: until a caller meets it", "s", {"oncue": figures})
    for name, figures in rollbacks.items():
        table(f"roll back, {name}: until a caller meets it", "ms", {"oncue": figures})


def _saves(folder: Path, word: Callable[[], str]) -> None:
    saves = []
    live = word()
    (folder / "__init__.py").write_text(SOURCE.format(live))
    with running("dev", functions=folder.parent) as port:
        caller = Caller(port)
        caller.until(live, time.perf_counter())
        for lap in range(LAPS):
            time.sleep(0.3 + lap % 7 * 0.031)  # no rhythm that a look at the folder could fall in with
            live = word()
            begun = time.perf_counter()
            (folder / "__init__.py").write_text(SOURCE.format(live))
            saves.append(caller.until(live, begun))
    table("save under oncue dev: until a caller meets it", "s", {"oncue": saves})
