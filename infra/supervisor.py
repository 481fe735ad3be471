"""Runs everything on one machine: the embedded server, web, workers; deploys what changes; leaves nothing behind.

    server ready → functions deployed → web and workers started → web ready → served
    SIGINT, SIGTERM or SIGHUP: workers stop (running invocations finish), then web, then the server

One thread, one loop: it waits for output, signals and ends of its child processes. A second signal ends all at once.
A `kill -9` of this process ends the others as well: see infra/tether.py.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from infra import port, process
from infra.embedded import EmbeddedServer
from infra.feed import Feed
from infra.processes import Backoff, ChildProcess, Program, adopt_orphans, end_orphans
from infra.serving import Serving
from infra.settings import Settings, process_environment
from infra.signals import Signals, drain
from runtime.authoring.errors import OnCueError
from runtime.authoring.exits import exit_words

#: Seconds a stopping process may take beyond its own grace before it is killed.
STOP_MARGIN_S = 5.0
#: Seconds the embedded server may take to read its data back.
LOAD_WITHIN_S = 600.0
#: Seconds of waiting after which it is said what for.
TELL_AFTER_S = 1.0
#: Seconds a deployment may take: imports of all folders included.
DEPLOY_WITHIN_S = 300.0
#: Seconds the web process may take until it serves.
WEB_WITHIN_S = 60.0
#: Seconds between two looks for orphans.
SWEEP_S = 0.5


class SupervisorError(OnCueError):
    """Something that must run cannot be started."""


class _StopRequestedError(Exception):
    """A signal asks to stop; raised where the loop stands."""


class Keys(NamedTuple):
    """A terminal's descriptor, and what is told of each key pressed there; it must not block."""

    descriptor: int
    pressed: Callable[[str], None]


class Supervisor:
    """Runs the processes of `oncue up` until a signal asks it to stop."""

    def __init__(
        self,
        settings: Settings,
        feed: Feed,
        programs: list[Program] | None = None,
        *,
        deploying: Program | None = None,
        keys: Keys | None = None,
    ) -> None:
        """`deploying`: what deploys the functions folder and stays to do so again, instead of a process that does it once
        and is started for every change. `keys`: a terminal, and what is told of each key pressed there.
        """
        self.settings = settings
        self.feed = feed
        self.server = EmbeddedServer(settings.data, settings.fsync) if settings.redis_url is None else None
        self.children: list[ChildProcess] = []
        self._serving = Serving(settings, feed, deploying)
        self._programs = programs
        self._keys = keys
        self._selector = selectors.DefaultSelector()
        #: the web process's port, so that nobody takes it while that process is down
        self._held = contextlib.ExitStack()
        self._server_backoff = Backoff()
        self._next_sweep = 0.0
        self._signals = Signals()
        self._stopping = False

    def run(self, serving: Callable[[], None] = lambda: None) -> int:
        """Start everything, call `serving` once it serves, and stay until it is asked to stop; return the exit code.

        Raises:
            PortError: the port is taken.
            SupervisorError: the data folder cannot be used, the first deployment fails, or a process cannot be started.
            EmbeddedServerError: the embedded server cannot be started.
        """
        adopt_orphans()
        with self._heard():
            try:
                self._start(serving)
                while True:
                    self._turn()
                    if self._serving.is_due():
                        self._serving.deploy(self._launch)
            except _StopRequestedError:
                self.feed.line("stopping; running invocations may finish (again: stop at once)", style="dim")
                return 0 if self._stop() else 130
            finally:
                self._stop()

    def _start(self, serving: Callable[[], None]) -> None:
        held = self._held.enter_context(port.hold(self.settings.host, self.settings.port))
        self.settings = self.settings.model_copy(update={"port": port.number_of(held)})
        if self.server is not None:
            self._launch_server(self.server)
            self._wait(self.server.is_ready, LOAD_WITHIN_S, "the embedded server")
            self.settings = self.settings.model_copy(update={"redis_url": self.server.url})
        if not self.settings.is_loopback:
            # Whether there is a key can be asked only now; loopback, the usual case, spares the imports.
            from infra.web import refuse_open_door

            refuse_open_door(self.settings, self.settings.ledger_url)
        self._serving.settings = self.settings
        self._serving.deploy(self._launch)
        self._wait(lambda: self._serving.has_deployed, DEPLOY_WITHIN_S, "the deployment of the functions folder")
        if not self._serving.has_begun:
            raise SupervisorError("the functions folder could not be deployed; the reason is above")
        environment = process_environment(self.settings)
        for program in self._programs if self._programs is not None else default_programs(self.settings):
            child = ChildProcess(program, environment)
            self.children.append(child)
            self._launch(child)
        if any(child.name == "web" for child in self.children):
            self._wait(lambda: port.is_ready(self.settings), WEB_WITHIN_S, "the web process")
        serving()
        self._serving.announce()

    def _turn(self, timeout_s: float = 0.2) -> None:
        """Wait for something to happen, at most `timeout_s`, and see to it."""
        for key, _ in self._selector.select(timeout_s):
            child = key.data
            if child is None:
                drain(key.fd)
            elif isinstance(child, Keys):
                self._press(child)
            else:
                self._relay(child)
                if child.is_silent:
                    self._selector.unregister(key.fd)
        self.feed.tick()
        self._see_to_ends()
        if self._signals.count and not self._stopping:
            self._stopping = True
            raise _StopRequestedError

    def _press(self, keys: Keys) -> None:
        pressed = os.read(keys.descriptor, 64)
        if not pressed:  # the terminal has gone
            self._selector.unregister(keys.descriptor)
        for key in pressed.decode(errors="ignore"):
            keys.pressed(key)

    def _wait(self, until: Callable[[], bool], within_s: float, what: str) -> None:
        started, is_told = time.monotonic(), False
        while not until():
            waited_s = time.monotonic() - started
            if waited_s > TELL_AFTER_S and not is_told:
                self.feed.line(f"waiting for {what} …", style="dim")
                is_told = True
            if waited_s > within_s:
                raise SupervisorError(f"{what} was not ready within {within_s:g} s")
            self._turn(0.03)

    def _launch(self, child: ChildProcess) -> None:
        try:
            child.start()
        except OSError as error:
            raise SupervisorError(f"{child.name!r} cannot be started ({error.strerror}); start OnCue again") from error
        self._selector.register(child.output, selectors.EVENT_READ, child)

    def _relay(self, child: ChildProcess) -> None:
        for line in child.read_lines():
            if not self._serving.hears(child, line):
                self.feed.output(child.name, line)

    def _see_to_ends(self) -> None:
        for child in self.children:
            if child.process is None:
                if not self._stopping and child.backoff.is_due():
                    self._launch(child)
            elif not child.is_running():
                code = self._end(child)
                if not self._stopping:
                    self._tell_crash(child.name, code, child.backoff.crashed())
        if (deployment := self._serving.process) is not None and not deployment.is_running():
            self._serving.ended(self._end(deployment), is_stopping=self._stopping)
        if self.server is not None and not self._stopping:
            self._see_to_server(self.server)
        if time.monotonic() > self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_S
            end_orphans(self._own_pids())

    def _launch_server(self, server: EmbeddedServer) -> None:
        try:
            server.launch()
        except OSError as error:
            raise SupervisorError(
                f"the data folder {server.data_dir} cannot be used ({error.strerror}); see that it can be written to, or set ONCUE_DATA"
            ) from error

    def _see_to_server(self, server: EmbeddedServer) -> None:
        if server.process is None:
            if self._server_backoff.is_due():
                server.launch()  # its clients connect again by themselves
        elif not server.is_running():
            code = server.process.wait()
            server.process = None
            self._tell_crash("the embedded server", code, self._server_backoff.crashed())

    def _tell_crash(self, name: str, code: int, pause_s: float) -> None:
        self.feed.line(("! ", "red"), f"{name} ended ({exit_words(code)}); starting it again in {pause_s:g} s")

    def _end(self, child: ChildProcess) -> int:
        """Read the last words of a process that has ended; return its exit code."""
        self._relay(child)
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.output)
        return child.ended()

    def _own_pids(self) -> set[int]:
        processes = [child.process for child in self._all()]
        if self.server is not None:
            processes.append(self.server.process)
        return {each.pid for each in processes if each is not None}

    def _all(self) -> list[ChildProcess]:
        return [*self.children, *([self._serving.process] if self._serving.process is not None else [])]

    def _stop(self) -> bool:
        """Stop everything in order; return False when a second signal cut it short. Does nothing the second time."""
        self._stopping = True
        asked = self._signals.count
        workers = [child for child in self.children if child.name != "web"]
        webs = [child for child in self.children if child.name == "web"]
        if self._serving.process is not None:
            self._serving.process.signal(signal.SIGKILL)
        for group in (workers, webs):
            for child in group:
                child.signal(signal.SIGTERM)
            ends = time.monotonic() + max((c.program.grace_s for c in group), default=0.0) + STOP_MARGIN_S
            while any(c.process is not None for c in group) and time.monotonic() < ends and self._signals.count <= asked:
                self._turn(0.05)
            for child in group:
                child.signal(signal.SIGKILL)
        while any(child.process is not None for child in self._all()):
            self._turn(0.05)
        if self.server is not None:
            self.server.kill() if self._signals.count > asked else self.server.stop()
        while end_orphans(set()):
            pass  # the end of one may hand us the next
        return self._signals.count <= asked

    @contextlib.contextmanager
    def _heard(self) -> Iterator[None]:
        with self._signals.heard() as woken, self._selector, self._held:
            self._selector.register(woken, selectors.EVENT_READ, None)
            if self._keys is not None:
                self._selector.register(self._keys.descriptor, selectors.EVENT_READ, self._keys)
            yield


def default_programs(settings: Settings) -> list[Program]:
    """The processes of one machine: web, triggers, and as many workers as the settings say."""
    workers = [
        Program(f"worker {index}", process.command("worker", str(index)), settings.grace_s) for index in range(settings.workers)
    ]
    web, triggers = (Program(kind, process.command(kind), grace_s=2.0) for kind in ("web", "triggers"))
    return [web, triggers, *workers]
