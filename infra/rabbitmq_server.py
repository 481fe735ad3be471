"""A RabbitMQ of one's own, for tests and development: in a folder, on a free port of the loopback interface.

with RabbitMQServer(Path("scratch")) as server:
    pika.BlockingConnection(pika.URLParameters(server.url))

It is one process, the Erlang machine itself: without its scripts, without epmd and without a port for other nodes. Its
standard input takes Erlang expressions, in the place of `rabbitmqctl`, which takes seconds to start.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Self

from infra import tether
from infra.port import free_port_for
from infra.rabbitmq_packages import find_or_fetch
from runtime.authoring.errors import OnCueError

START_WITHIN_S = 60.0
STOP_WITHIN_S = 15.0
EVALUATE_WITHIN_S = 15.0

#: Reads expressions, one a line, and answers each with a line; when the input ends, so does the server.
_EVALUATE = """spawn(fun Serve() -> case io:get_line("") of eof -> init:stop(); Line ->
  Answer = try {ok, Tokens, _} = erl_scan:string(Line), {ok, Parsed} = erl_parse:parse_exprs(Tokens),
    {value, Value, _} = erl_eval:exprs(Parsed, []), Value catch Class:Reason -> {Class, Reason} end,
  io:format("~n=> ~0p~n", [Answer]), Serve() end end)."""

_ANSWER = b"=> "


class RabbitMQServerError(OnCueError):
    """The server does not come up, or does not answer."""


class RabbitMQServer:
    """A RabbitMQ over one folder, with its default user `guest`.

    Start it from the main thread: the kernel ends it with the thread that started it.
    """

    def __init__(self, folder: Path, **settings: str | int) -> None:
        self.folder = folder.absolute()
        #: kept for the server while it is down
        self.port = free_port_for(self)
        #: lines of rabbitmq.conf
        self._settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "disk_free_limit.absolute": "1MB",
            "raft.wal_max_size_bytes": 16 * 2**20,
            "log.console": "false",
            "log.file.level": "info",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._lines: deque[bytes] = deque(maxlen=20)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server, wait until it takes connections, and return its URL. What is durable is still there.

        Raises:
            RabbitMQMissingError: there is no RabbitMQ to be had.
            RabbitMQServerError: it does not come up; says its last words.
        """
        command, environment = self._command()
        self.process = subprocess.Popen(
            tether.command(command),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._answers = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=(self.process,), name="rabbitmq-output", daemon=True)
        self._reader.start()
        ends = time.monotonic() + START_WITHIN_S
        while not self._is_up():
            if self.process.poll() is not None or time.monotonic() > ends:
                self.kill()
                words = b" / ".join(self._lines).decode(errors="replace")
                raise RabbitMQServerError(f"RabbitMQ did not come up; {self.folder} has its logs; its last words: {words}")
            time.sleep(0.05)
        return self.url

    def stop(self) -> None:
        """Stop the server in good order, when it runs."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
            self._reap()

    def kill(self) -> None:
        """End the server as `kill -9` does, minutes after its queues were declared.

        Sooner, RabbitMQ 3.10 forgets that a quorum queue has a log: the directory of logs (a dets table) is written once
        in three minutes. The queue then comes back without a leader, and confirms nothing more.
        """
        if self.process is not None:
            with suppress(RabbitMQServerError):
                self.evaluate("[dets:sync(Table) || Table <- dets:all()]")
            self.process.kill()
            self._reap()

    def restart(self) -> None:
        """Stop the server and start it again, on the same port."""
        self.stop()
        self.start()

    def evaluate(self, expression: str) -> str:
        """Evaluate an Erlang expression in the server ("rabbit:is_running()"); return its value as Erlang writes it.

        Raises:
            RabbitMQServerError: it does not answer.
        """
        with self._lock:
            try:
                assert self.process is not None
                assert self.process.stdin is not None
                self.process.stdin.write(" ".join(expression.split()).encode() + b".\n")
                self.process.stdin.flush()
                return self._answers.get(timeout=EVALUATE_WITHIN_S)
            except (OSError, queue.Empty) as error:
                raise RabbitMQServerError(f"RabbitMQ does not answer {expression!r}: {error!r}") from error

    def set_memory_alarm(self, is_on: bool) -> None:
        """Raise the memory alarm, which blocks all publishers, or end it."""
        self.evaluate(f"vm_memory_monitor:set_vm_memory_high_watermark({'0.00001' if is_on else '0.4'})")

    def close_connections(self) -> int:
        """Close all connections of clients; return how many there were."""
        connections = "rabbit_networking:local_connections()"
        closed = self.evaluate(f'length([rabbit_networking:close_connection(P, "told to") || P <- {connections}])')
        return int(closed)

    def _is_up(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0):
                return self.evaluate("rabbit:is_running()") == "true"
        except (OSError, RabbitMQServerError):
            return False

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        answers = self._answers
        for line in process.stdout:
            if line.startswith(_ANSWER):
                answers.put(line.removeprefix(_ANSWER).decode(errors="replace").strip())
            elif line.strip():
                self._lines.append(line.strip())

    def _reap(self) -> None:
        assert self.process is not None
        assert self._reader is not None
        self.process.wait()
        self._reader.join(5.0)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process = None

    def _command(self) -> tuple[list[str], dict[str, str]]:
        found = find_or_fetch()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write("rabbitmq.conf", "".join(f"{name} = {value}\n" for name, value in self._settings.items()))
        self._write("enabled_plugins", "[].\n")
        programs = next(found.erlang.glob("erts-*")) / "bin"
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            # what the script `erl` sets
            "ROOTDIR": str(found.erlang),
            "BINDIR": str(programs),
            "EMU": "beam",
            "PROGNAME": "erl",
            # what the script `rabbitmq-server` sets
            "ERL_LIBS": str(found.home / "plugins"),
            "ERL_MAX_PORTS": "65536",
            "ERL_MAX_ETS_TABLES": "50000",
            "RABBITMQ_HOME": str(found.home),
            "RABBITMQ_PLUGINS_DIR": str(found.home / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_NODENAME": "oncue@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": str(self.folder / "log" / "rabbitmq.log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
        }
        options = [
            # a node with a name, as its database wants, which neither listens to other nodes nor asks epmd for a port
            *("-sname", "oncue@localhost", "-dist_listen", "false", "-start_epmd", "false", "-erl_epmd_port", "1"),
            *("-noshell", "-eval", _EVALUATE, "-s", "rabbit", "boot", "-boot", str(found.erlang / "bin" / "start_sasl")),
            *("+W", "w", "+B", "i", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"),
            *("-syslog", "logger", "[]", "-syslog", "syslog_error_logger", "false"),
        ]
        return [str(programs / "erlexec"), *options], environment

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
