"""The web process itself: started as a supervisor starts it, bounded in memory, stopped cleanly."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from infra import process
from infra.port import hold, number_of
from infra.settings import Settings
from runtime.authoring.manifest import Manifest
from runtime.versions.catalog import Deployed
from runtime.versions.registry import Registry
from tests.http.serving import assert_problem, function


@pytest.fixture
def web_process(
    redis_url: str, tmp_path: Path, eventually: Callable[..., object]
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A web process that is ready, and its URL."""
    registry = Registry(redis_url)
    registry.switch(Deployed("tests", "v1", Manifest(folder="tests", python="3.11", functions=(function("any"),)), 0))
    registry.close()
    with hold("127.0.0.1") as held:
        settings = Settings(port=number_of(held), redis_url=redis_url, data=tmp_path)
        running = subprocess.Popen(process.command("web"), env={**os.environ, **settings.environment()})
        url = f"http://127.0.0.1:{settings.port}"
        try:
            eventually(lambda: running.poll() is None and _is_ready(url))
            yield running, url
        finally:
            running.kill()
            running.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url + "/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _memory_kib(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(field)).split()[1])


def test_large_body_is_cut_with_constant_memory(web_process: tuple[subprocess.Popen[bytes], str]) -> None:
    """Of 50 MB, announced or streamed, no more than the limit is ever held."""
    running, url = web_process
    before = _memory_kib(running.pid, "VmRSS:")
    chunk = b"x" * 500_000
    for body in (chunk * 100, (chunk for _ in range(100))):
        response = httpx.post(f"{url}/v1/functions/any", content=body, timeout=30)
        assert_problem(response, 413, "body-too-large")
    assert _memory_kib(running.pid, "VmHWM:") - before < 20_000
    assert httpx.post(f"{url}/v1/functions/any", json={}).status_code == 202


STREAM = b"GET %s/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
LIVE = (
    b"GET %s/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_thousand_open_streams(web_process: tuple[subprocess.Popen[bytes], str], redis_url: str) -> None:
    """Half by server-sent events and half by WebSocket: they take less than 200 MB, and ask Redis nothing while nothing happens."""
    running, url = web_process
    place = httpx.URL(url)
    path: bytes = httpx.post(f"{url}/v1/functions/any", json={}).json()["links"]["self"].encode()
    with contextlib.ExitStack() as open_, redis.Redis.from_url(redis_url) as connection:
        for number in range(1000):
            stream = open_.enter_context(socket.create_connection((place.host, place.port or 80), timeout=10))
            stream.sendall((LIVE if number % 2 else STREAM) % path)
            seen = b""
            while b'"queued"' not in seen:
                seen += stream.recv(4096)
        before = _commands(connection)
        threading.Event().wait(3)  # what is measured is what happens while nothing does
        asked = _commands(connection) - before
        assert _memory_kib(running.pid, "VmRSS:") < 200_000
    assert asked < 100, "a poll of each stream would be a thousand commands"


def _commands(connection: redis.Redis) -> int:
    found: Any = connection.info("commandstats")
    return sum(each["calls"] for each in found.values())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_process_ends_its_waits_and_leaves_cleanly(
    web_process: tuple[subprocess.Popen[bytes], str], number: signal.Signals
) -> None:
    """A signal lets callers go with what is known, and the process ends by itself with 0."""
    running, url = web_process
    with httpx.Client() as client:
        path = client.post(f"{url}/v1/functions/any", json={}).json()["links"]["events"]
        with client.stream("GET", url + path) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: status"
            running.send_signal(number)
            assert '"queued"' in "".join(lines)
        assert running.wait(5) == 0
