"""The client's side: an append-only, fsynced ledger of what it was promised, and load that writes it."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode


class ClientLedger:
    """One line for each promise: the id, and the idempotency key under which it was asked for.

    A line is on the disk before the client goes on, so the file knows of every 202 that a caller may rely on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lock = threading.Lock()

    def write(self, invocation_id: str, key: str, function: str) -> None:
        """Note a promise, and return once it is on the disk."""
        with self._lock:
            os.write(self._file, f"{invocation_id} {key} {function}\n".encode())
            os.fsync(self._file)

    def read(self) -> list[tuple[str, str, str]]:
        """Return all promises as (id, key, function)."""
        return [(entry[0], entry[1], entry[2]) for line in self._path.read_text().splitlines() if (entry := line.split(" "))]

    def close(self) -> None:
        os.close(self._file)


class Client:
    """Asks the edge for invocations; asks again, under the same key, until it is answered. One per thread."""

    def __init__(self, port: int, ledger: ClientLedger, answers: Counter[str]) -> None:
        self._port = port
        self._ledger = ledger
        self._answers = answers
        self._connection: http.client.HTTPConnection | None = None
        #: seconds that the slowest answer took
        self.slowest_s = 0.0

    def invoke(self, function: str, data: dict[str, Any], key: str, *, delay_s: float = 0, within_s: float = 90) -> str | None:
        """Return the id that was promised; None when there was no answer in time."""
        ends = time.monotonic() + within_s
        query = "?" + urlencode({"delay": f"{delay_s}s"}) if delay_s else ""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        while time.monotonic() < ends:
            began = time.monotonic()
            try:
                status, body = self._post(f"/v1/functions/{function}{query}", json.dumps(data), headers)
            except (OSError, http.client.HTTPException) as error:
                self._answers[type(error).__name__] += 1
                self.close()
            else:
                self._answers[str(status)] += 1
                if status == 202:
                    invocation_id: str = json.loads(body)["id"]
                    self._ledger.write(invocation_id, key, function)
                    return invocation_id
                if status < 500 and status != 409:
                    raise AssertionError(f"{function} was refused with {status}: {body!r}")
            finally:
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            time.sleep(0.05)
        return None

    def result(self, function: str, data: dict[str, Any], key: str, *, wait_s: int) -> tuple[int, float]:
        """Ask once for an invocation and wait for its result; return the status, and the seconds it took."""
        began = time.monotonic()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key, "Prefer": f"wait={wait_s}"}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=wait_s + 30)
        connection.request("POST", f"/v1/functions/{function}", json.dumps(data), headers)
        answer = connection.getresponse()
        answer.read()
        self._ledger.write(answer.headers["X-Invocation-Id"] or "", key, function)
        connection.close()
        return answer.status, time.monotonic() - began

    def _post(self, path: str, body: str, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        self._connection.request("POST", path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Load:
    """Threads that ask for invocations at a steady rate, until it is stopped."""

    def __init__(
        self, port: int, ledger: ClientLedger, *, rate: float, threads: int = 4, **mix: tuple[float, dict[str, Any]]
    ) -> None:
        self._mix = mix
        #: how often each answer came: "202", "503", "ConnectionRefusedError", …
        self.answers: Counter[str] = Counter()
        #: keys that were never answered
        self.unanswered: list[str] = []
        self._pause_s = threads / rate
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._name = os.urandom(3).hex()
        self._clients = [Client(port, ledger, self.answers) for _ in range(threads)]
        self._threads = [threading.Thread(target=self._run, args=each) for each in enumerate(self._clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask for nothing new, and wait until what was asked for is answered."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    @property
    def slowest_s(self) -> float:
        """Seconds that the slowest answer took."""
        return max(client.slowest_s for client in self._clients)

    def _run(self, number: int, client: Client) -> None:
        functions = [name for name, (share, _) in self._mix.items() for _ in range(round(share * 100))]
        try:
            count = 0
            while not self._stopping.wait(self._pause_s):
                count += 1
                function = functions[(count * 37 + number * 11) % len(functions)]
                key = f"{self._name}-{number}-{count}"
                if client.invoke(function, self._mix[function][1], key) is None:
                    self.unanswered.append(key)
        except BaseException as error:  # raised by `stop`
            self._errors.append(error)
        finally:
            client.close()
