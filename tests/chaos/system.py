"""The system under test: the processes a machine runs, each of which can be killed, stopped and started again."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import psutil
import redis

from infra import process, tether
from infra.embedded import EmbeddedServer
from infra.port import free_port_for
from infra.rabbitmq_server import RabbitMQServer

FUNCTIONS = Path(__file__).with_name("functions")
#: Where the handlers' journal is, below the data folder (`Context.state_dir` of the folder `chaos`).
STATE = Path("state") / "chaos"


class Process:
    """One of OnCue's processes; its output goes to a file."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command, self._environment = command, environment
        self.popen: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    def start(self) -> None:
        """Start it anew. From the main thread only: it ends with the thread that started it."""
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                tether.command(self._command),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> int:
        """kill -9, and return the pid that was."""
        pid = self.pid
        self.signal(signal.SIGKILL)
        self.wait(10)
        return pid

    def wait(self, within_s: float) -> int:
        assert self.popen is not None
        return self.popen.wait(within_s)

    def is_running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def cpu_s(self) -> float:
        """Seconds of processor time it has used, without its children's."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    def memory_bytes(self) -> int:
        return int(psutil.Process(self.pid).memory_info().rss)


class System:
    """One OnCue in a folder of its own: an embedded server, RabbitMQ where that carries, the web process, and workers."""

    def __init__(
        self, folder: Path, *, lease_s: float = 5.0, threads: int = 4, fsync: Any = "always", has_broker: bool = False
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.server = EmbeddedServer(self.data, fsync)
        self.broker = RabbitMQServer(folder / "rabbitmq") if has_broker else None
        self.port = free_port_for(self)
        self.workers: list[Process] = []
        self.web: Process | None = None
        self.threads = threads
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")},
            "ONCUE_DATA": str(self.data),
            "ONCUE_FUNCTIONS": str(FUNCTIONS),
            "ONCUE_PORT": str(self.port),
            "ONCUE_LEASE": f"{lease_s}s",
            "ONCUE_THREADS": str(threads),
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.server.start()
        if self.broker is not None:
            self.broker.start()
            self._environment["ONCUE_BROKER"] = self.broker.url
        subprocess.run(process.command("deploy"), env=self.environment(), check=True, capture_output=True, timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.processes:
            if each.is_running():
                each.kill()
        if self.broker is not None:
            self.broker.kill()
        self.server.kill()

    @property
    def processes(self) -> list[Process]:
        return [*self.workers, *([self.web] if self.web else [])]

    @property
    def socket_path(self) -> str:
        return unquote(self.server.url.removeprefix("unix://"))

    def redis(self) -> redis.Redis:
        """A connection of the harness's own to the server, past any proxy."""
        return redis.Redis.from_url(self.server.url)

    def environment(self, url: str | None = None) -> dict[str, str]:
        return {**self._environment, "ONCUE_REDIS_URL": url or self.server.url}

    def start_web(self, url: str | None = None) -> Process:
        """Start the web process and wait until it serves."""
        self.web = Process("web", process.command("web"), self.environment(url), self.folder / "web.log")
        self.await_web()
        return self.web

    def await_web(self, within_s: float = 20) -> None:
        wait_for(self._web_is_ready, within_s, "the web process to serve")

    def start_workers(self, count: int, url: str | None = None) -> list[Process]:
        """Start workers and wait until each has fetched once."""
        first = len(self.workers)
        for index in range(first, first + count):
            command = process.command("worker", str(index))
            self.workers.append(Process(f"worker {index}", command, self.environment(url), self.folder / f"worker-{index}.log"))
        wait_for(lambda: self._consumers() >= len(self.workers), 20, "the workers to fetch")
        return self.workers[first:]

    def kill_server(self) -> None:
        """kill -9 the server."""
        assert self.server.process is not None
        self.server.process.kill()
        self.server.process.wait()

    def start_server(self) -> float:
        """Start the server again; return the seconds until it served."""
        began = time.monotonic()
        self.server.start()
        return time.monotonic() - began

    def logs(self) -> dict[str, str]:
        return {each.name: each.log.read_text(errors="replace") for each in self.processes}

    def _consumers(self) -> int:
        with self.redis() as connection:
            try:
                groups: Any = connection.xinfo_groups("oncue:{default}:stream")
            except redis.ResponseError:
                return 0
        return int(groups[0]["consumers"]) if groups else 0

    def _web_is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def wait_for(condition: Callable[[], bool], within_s: float, what: str) -> float:
    """Wait until a condition holds; return the seconds it took.

    Raises:
        TimeoutError: it did not hold in time.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + within_s:
            raise TimeoutError(f"waited {within_s:g} s for {what}")
        time.sleep(0.02)
    return time.monotonic() - began
