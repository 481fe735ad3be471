"""Finds a RabbitMQ to run: the one on PATH, else Debian's packages, unpacked into `.tools` without touching the system."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runtime.authoring.errors import OnCueError

TOOLS = Path(__file__).resolve().parents[1] / ".tools"

#: Debian's packages: the server, and the parts of Erlang that it starts (`apt-cache depends rabbitmq-server`, and theirs).
_PARTS = (
    *("asn1", "base", "crypto", "eldap", "inets", "mnesia", "os-mon", "parsetools"),
    *("public-key", "runtime-tools", "ssl", "syntax-tools", "tools", "xmerl"),
)
PACKAGES = ("rabbitmq-server", *(f"erlang-{part}" for part in _PARTS))

FETCH_WITHIN_S = 300.0


class RabbitMQMissingError(OnCueError):
    """There is no RabbitMQ on this machine, and none can be fetched."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the files of RabbitMQ and of Erlang are."""

    #: has plugins/rabbit-*
    home: Path
    #: has erts-*/bin/erlexec
    erlang: Path


def find_or_fetch() -> Installation:
    """Return a RabbitMQ to run; the first call may download 32 MB.

    Raises:
        RabbitMQMissingError: there is none, and Debian's packages cannot be had; says why.
    """
    return _on_path() or _unpacked() or _fetched()


def _on_path() -> Installation | None:
    server, erl = shutil.which("rabbitmq-server"), shutil.which("erl")
    if server is None or erl is None:
        return None
    asked = subprocess.run([erl, "-noshell", "-eval", "io:put_chars(code:root_dir()),halt()."], capture_output=True, check=True)
    # A distribution's /usr/sbin/rabbitmq-server changes the user; the server proper is elsewhere.
    homes = [Path(server).resolve().parents[1], *Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")]
    return next((Installation(home, Path(asked.stdout.decode())) for home in homes if (home / "plugins").is_dir()), None)


def _unpacked() -> Installation | None:
    for place in sorted(TOOLS.glob("rabbitmq-*/usr/lib"), reverse=True):
        for home in place.glob("rabbitmq/lib/rabbitmq_server-*"):
            return Installation(home, place / "erlang")
    return None


def _fetched() -> Installation:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise RabbitMQMissingError("there is no rabbitmq-server on PATH, and no apt-get to fetch Debian's; install RabbitMQ")
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TOOLS, prefix="fetching-") as scratch:
        debs = _download(Path(scratch))
        version = next(deb.name.split("_")[1].split("-")[0] for deb in debs if deb.name.startswith("rabbitmq-server_"))
        root = Path(scratch) / "root"
        for deb in debs:
            subprocess.run(["dpkg-deb", "-x", deb, root], check=True)  # noqa: S607  # dpkg-deb is found on PATH, as above
        target = TOOLS / f"rabbitmq-{version}"
        if not target.exists():
            root.rename(target)
    found = _unpacked()
    assert found is not None
    return found


def _download(scratch: Path) -> list[Path]:
    """Download the packages with apt, which checks their signatures, in a state of its own: nobody need be root."""
    for folder in ("state/lists/partial", "cache/archives/partial", "debs"):
        (scratch / folder).mkdir(parents=True)
    own = {"Dir::State": scratch / "state", "Dir::Cache": scratch / "cache", "Debug::NoLocking": 1, "APT::Sandbox::User": ""}
    apt = ["apt-get", "--quiet", *(word for name, value in own.items() for word in ("-o", f"{name}={value}"))]
    try:
        # A source that does not answer fails the update, though the others have what is wanted.
        subprocess.run([*apt, "update"], capture_output=True, check=False, timeout=FETCH_WITHIN_S)
        done = subprocess.run(
            [*apt, "download", *PACKAGES],
            cwd=scratch / "debs",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            timeout=FETCH_WITHIN_S,
        )
    except subprocess.TimeoutExpired as error:
        raise RabbitMQMissingError(
            f"Debian's packages did not come within {FETCH_WITHIN_S:g} s; install rabbitmq-server"
        ) from error
    debs = sorted((scratch / "debs").glob("*.deb"))
    if done.returncode != 0 or len(debs) < len(PACKAGES):
        words = " ".join(done.stderr.decode(errors="replace").split())[-300:]
        raise RabbitMQMissingError(f"Debian's packages cannot be had ({words}); install rabbitmq-server")
    return debs
