import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from infra.embedded import MAX_SOCKET_PATH_BYTES, EmbeddedServer, EmbeddedServerError


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_started_server(tmp_path: Path) -> None:
    """It serves on a socket in the data folder, writes before it answers, and never evicts a record."""
    with EmbeddedServer(tmp_path / "data") as server, redis.Redis.from_url(server.url, decode_responses=True) as connection:
        assert server.url == f"unix://{tmp_path}/data/redis/redis.sock"
        settings = connection.config_get("port", "appendonly", "appendfsync", "maxmemory-policy", "hash-max-listpack*")
        assert settings["port"] == "0"
        assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")
        assert settings["maxmemory-policy"] == "noeviction"
        assert (settings["hash-max-listpack-entries"], settings["hash-max-listpack-value"]) == ("64", "1024")


def test_files_of_the_data_folder(tmp_path: Path) -> None:
    """Nobody but the owner can read what OnCue keeps, or reach its server."""
    with EmbeddedServer(tmp_path / "data") as server, redis.Redis.from_url(server.url) as connection:
        connection.set("a", 1)
        for path in (tmp_path / "data", *(tmp_path / "data").rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_killed_server(tmp_path: Path) -> None:
    """What it answered to is there again after `kill -9` and a new start of the same object."""
    with EmbeddedServer(tmp_path) as server:
        with redis.Redis.from_url(server.url) as connection:
            for number in range(200):
                connection.set(f"key {number}", number)
        assert server.process is not None
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        server.start()
        with redis.Redis.from_url(server.url) as connection:
            assert connection.dbsize() == 200


def test_a_stopped_server(tmp_path: Path) -> None:
    """It leaves no process and no socket, and its data comes back with the next one."""
    with EmbeddedServer(tmp_path) as server:
        pid = server.pid
        with redis.Redis.from_url(server.url) as connection:
            connection.set("a", "b")
    assert not _is_alive(pid)
    assert not (tmp_path / "redis" / "redis.sock").exists()
    with EmbeddedServer(tmp_path) as server, redis.Redis.from_url(server.url) as connection:
        assert connection.get("a") == b"b"


def test_two_servers_side_by_side(tmp_path: Path) -> None:
    """Two data folders have two servers that know nothing of each other."""
    with (
        EmbeddedServer(tmp_path / "a") as a,
        EmbeddedServer(tmp_path / "b") as b,
        redis.Redis.from_url(a.url) as at_a,
        redis.Redis.from_url(b.url) as at_b,
    ):
        at_a.set("x", 1)
        assert at_b.get("x") is None


def test_a_second_server_on_one_folder(tmp_path: Path) -> None:
    """It is refused with the process that holds the folder, and the first one is not disturbed."""
    with EmbeddedServer(tmp_path) as server:
        second = EmbeddedServer(tmp_path)
        with pytest.raises(EmbeddedServerError, match=rf"\(process {os.getpid()}\) uses the data folder {tmp_path}"):
            second.start()
        second.stop()
        with redis.Redis.from_url(server.url) as connection:
            assert connection.ping()


@pytest.mark.parametrize("name", ["with space and 'quotes\"", "50%41#?", "ü"])
def test_a_folder_with_an_unusual_name(short_path: Path, name: str) -> None:
    """The URL leads to the server whatever characters the path has."""
    with EmbeddedServer(short_path / name) as server, redis.Redis.from_url(server.url) as connection:
        assert connection.ping()
        assert (short_path / name / "redis" / "redis.sock").is_socket()


def test_a_path_too_long_for_a_socket(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket moves to a private temporary folder, which goes with the server; the data stay where they are."""
    monkeypatch.setattr("tempfile.tempdir", str(short_path))
    with EmbeddedServer(short_path / ("x" * MAX_SOCKET_PATH_BYTES)) as server:
        with redis.Redis.from_url(server.url) as connection:
            connection.set("a", 1)
        (private,) = short_path.glob("oncue-*")
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert (server.folder / "appendonlydir").is_dir()
    assert not private.exists()


def test_a_foreign_folder_at_the_private_place(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that others can open is not trusted with the socket."""
    monkeypatch.setattr("tempfile.tempdir", str(short_path))
    data = short_path / ("x" * MAX_SOCKET_PATH_BYTES)
    with EmbeddedServer(data):
        (private,) = short_path.glob("oncue-*")
    private.mkdir(mode=0o755)
    private.chmod(0o755)
    with pytest.raises(EmbeddedServerError, match="is not this user's alone"):
        EmbeddedServer(data).start()


def test_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    """A server that does not come up is reported with its last words, and gives the folder back."""
    with EmbeddedServer(tmp_path) as server, redis.Redis.from_url(server.url) as connection:
        connection.set("a", 1)
    (manifest,) = (tmp_path / "redis" / "appendonlydir").glob("*.manifest")
    whole = manifest.read_text()
    manifest.write_text("nonsense\n")
    server = EmbeddedServer(tmp_path)
    with pytest.raises(EmbeddedServerError, match=r"valkey\.log ends with: .*nonsense|Invalid AOF manifest"):
        server.start()
    manifest.write_text(whole)
    with server:
        assert server.ping() == "ready"


def test_a_killed_owner(tmp_path: Path, eventually: Callable[..., object]) -> None:
    """`kill -9` of the process that started the server ends the server, and a new one takes the folder over."""
    script = (
        "import sys, pathlib, time; from infra.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(pathlib.Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    eventually(lambda: not _is_alive(pid))
    with EmbeddedServer(tmp_path) as server:
        assert server.ping() == "ready"
