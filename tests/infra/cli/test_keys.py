"""`oncue key`: keys made on the Redis of an instance, whether it runs or not; and the door that they guard."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra import process
from infra.embedded import EmbeddedServer

ONCUE = str(Path(sys.executable).with_name("oncue"))


def run(environment: dict[str, str], *words: str, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command or [ONCUE, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_life_of_a_key(environment: dict[str, str]) -> None:
    """Made while nothing runs, listed while it does, revoked; its secret is shown once."""
    made = run(environment, "key", "new", "ci", "--scope", "invoke:any", "--scope", "read", "--expires", "90d", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    assert key["token"].startswith(f"oncue_{key['id']}_")
    with EmbeddedServer(Path(environment["ONCUE_DATA"])):
        listed = json.loads(run(environment, "key", "ls", "--json").stdout)
        table = run(environment, "key", "ls").stdout
        revoked = run(environment, "key", "revoke", key["id"])
    assert listed == {"keys": [{name: value for name, value in key.items() if name != "token"}]}
    assert "invoke:any read" in table
    assert key["token"].rpartition("_")[2] not in table + str(listed)
    assert (revoked.returncode, revoked.stdout) == (0, f"revoked {key['id']}\n")
    assert json.loads(run(environment, "key", "ls", "--json").stdout) == {"keys": []}


@pytest.mark.parametrize(
    "words",
    [
        ("new", "ci"),
        ("new", "ci", "--scope", "wirte"),
        ("new", "a b", "--scope", "read"),
        ("new", "ci", "--scope", "read", "--expires", "soon"),
        ("revoke", "0000000000"),
    ],
)
def test_key_command_used_wrongly(environment: dict[str, str], redis_url: str, words: tuple[str, ...]) -> None:
    """One sentence and exit code 2."""
    told = run({**environment, "ONCUE_REDIS_URL": redis_url}, "key", *words)
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("kind", ["web", "up"])
def test_start_beyond_loopback_without_a_key(environment: dict[str, str], redis_url: str, kind: str) -> None:
    """It does not start, and says how to make a key."""
    open_to_all = {**environment, "ONCUE_HOST": "0.0.0.0", "ONCUE_REDIS_URL": redis_url}
    told = run(open_to_all, kind, command=process.command("web") if kind == "web" else None)
    assert told.returncode == 2
    assert "ONCUE_HOST=0.0.0.0 would open OnCue to the network" in told.stderr + told.stdout
    assert "oncue key new" in told.stderr + told.stdout
