"""Starts the contestants as whole processes, each on an embedded server of its own, and asks them for figures."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import redis

from infra.embedded import EmbeddedServer
from infra.port import free_port_for, hold, number_of
from runtime.versions.deployer import Deployer, Versions
from runtime.versions.registry import Registry
from triggers.http.access.keyring import Keyring

HERE = Path(__file__).parent
ONCUE = str(Path(sys.executable).with_name("oncue"))


@contextlib.contextmanager
def running(command: str, *, functions: Path) -> Iterator[int]:
    """Run `oncue up` or `oncue dev` with a data folder of its own, and give its port once it serves."""
    with hold("127.0.0.1") as held, tempfile.TemporaryDirectory() as data, (Path(data) / "output.log").open("w") as output:
        port = number_of(held)
        settings = {"ONCUE_DATA": data, "ONCUE_PORT": str(port), "ONCUE_FUNCTIONS": str(functions)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
        process = subprocess.Popen(
            [ONCUE, command], env={**kept, **settings}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            ends = time.monotonic() + 30
            while not _serves(port, {folder.name for folder in functions.iterdir()}):
                if process.poll() is not None or time.monotonic() > ends:
                    raise RuntimeError(f"oncue {command} did not come up: {Path(output.name).read_text()}")
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _serves(port: int, folders: set[str]) -> bool:
    with contextlib.suppress(httpx.TransportError):
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/deployments")
        return answer.is_success and folders <= {each["folder"] for each in answer.json()["deployments"]}
    return False


class Contestant:
    """A web process and workers over one server. `fsync` is the same for all contestants."""

    name = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.server = EmbeddedServer(self.folder, fsync="always")
        self.url = self.server.start()
        self.redis = redis.Redis.from_url(self.url)
        self.port = free_port_for(self)

    def close(self) -> None:
        """Stop the server and remove its data."""
        self.redis.close()
        self.server.stop()
        shutil.rmtree(self.folder)

    def path(self, function: str) -> str:
        raise NotImplementedError

    def web_command(self) -> list[str]:
        raise NotImplementedError

    def worker_command(self) -> list[str]:
        raise NotImplementedError

    def completed(self) -> int:
        """Return how many results have been stored since the last `flush`."""
        raise NotImplementedError

    def result(self, invocation_id: str) -> float | None:
        """Return the result of a `started` run, once it is there."""
        raise NotImplementedError

    def flush(self) -> None:
        """Forget all work and results."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(HERE), "STOCK_REDIS_URL": self.url}

    @contextlib.contextmanager
    def web(self) -> Iterator[None]:
        with self._process(self.web_command()):
            ends = time.monotonic() + 20
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                    break
                if time.monotonic() > ends:
                    raise RuntimeError(f"{self.name} did not come up")
                time.sleep(0.02)
            yield

    @contextlib.contextmanager
    def worker(self) -> Iterator[None]:
        with self._process(self.worker_command()):
            yield

    @contextlib.contextmanager
    def _process(self, command: list[str]) -> Iterator[None]:
        with (self.folder / "output.log").open("ab") as output:
            process = subprocess.Popen(command, env=self.environment(), stdout=output, stderr=output, cwd=self.folder)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def load(self, function: str, connections: int, seconds: float, *headers: str) -> dict[str, float]:
        """Drive the contestant's web process with the load generator; see load.py for `headers`."""
        arguments = ["127.0.0.1", str(self.port), self.path(function), str(connections), str(seconds), *headers]
        output = subprocess.run([sys.executable, HERE / "load.py", *arguments], capture_output=True, check=True, text=True)
        figures: dict[str, float] = json.loads(output.stdout)
        if figures["failed"]:
            raise RuntimeError(f"{self.name}: {figures['failed']} requests failed")
        return figures

    def post(self, client: httpx.Client, function: str) -> str:
        """Send one request; return the id it was answered with."""
        answer = client.post(f"http://127.0.0.1:{self.port}{self.path(function)}", json={})
        identity: str = answer.json()["id"]
        return identity


class OnCue(Contestant):
    """This project: `oncue web` and `oncue worker` with their defaults."""

    name = "oncue"

    def __init__(self) -> None:
        super().__init__()
        self._deploy()

    def _deploy(self) -> None:
        registry = Registry(self.url)
        report = Deployer(registry, Versions(self.folder)).sync(HERE / "functions")
        registry.close()
        assert not report.problems, report.problems

    def path(self, function: str) -> str:
        return f"/v1/functions/{function}"

    def environment(self) -> dict[str, str]:
        settings = {
            "ONCUE_REDIS_URL": self.url,
            "ONCUE_DATA": str(self.folder),
            "ONCUE_PORT": str(self.port),
            # Counted once there is a key, and never reached.
            "ONCUE_RATE_LIMIT": "1000000/s",
        }
        return {**super().environment(), **settings}

    def make_key(self) -> str:
        """Make an API key that opens everything; return its token."""
        keyring = Keyring(self.url)
        token = keyring.new("bench", ["invoke:*"], None).token
        keyring.close()
        return token

    def web_command(self) -> list[str]:
        return [ONCUE, "web"]

    def worker_command(self) -> list[str]:
        return [ONCUE, "worker"]

    def completed(self) -> int:
        count: Any = self.redis.hget("oncue:{default}:stats", "noop succeeded")
        return int(count or 0)

    def result(self, invocation_id: str) -> float | None:
        body: Any = self.redis.get(f"oncue:{{default}}:res:{invocation_id}")
        return float(body) if body is not None else None

    def flush(self) -> None:
        self.redis.flushall()
        self._deploy()


class Stock(Contestant):
    """Dramatiq's own broker, results and command line with their defaults, behind Starlette on uvicorn."""

    name = "stock dramatiq"

    def __init__(self) -> None:
        super().__init__()
        os.environ["STOCK_REDIS_URL"] = self.url  # read by stock.py, which `result` imports

    def path(self, function: str) -> str:
        return f"/{function}"

    def web_command(self) -> list[str]:
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--no-access-log", "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", "stock:app", *options]

    def worker_command(self) -> list[str]:
        return [sys.executable, "-m", "dramatiq", "stock", "--path", str(HERE)]

    def completed(self) -> int:
        count: Any = self.redis.dbsize()  # a result is a key; the broker's own few do not matter
        return int(count)

    def result(self, invocation_id: str) -> float | None:
        from dramatiq.results.errors import ResultMissing
        from stock import backend, started

        try:
            value: float = backend.get_result(started.message().copy(message_id=invocation_id))
        except ResultMissing:
            return None
        return value

    def flush(self) -> None:
        self.redis.flushall()
