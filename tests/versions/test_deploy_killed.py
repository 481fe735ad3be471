"""A deploying process that is killed: whatever it was about, one whole version is served, and the next deploy works."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from runtime.versions.pack import pack
from tests.versions.deploying import Host, greeting

#: Deploys a folder, and kills itself with SIGKILL at the stage it is told.
_SCRIPT = """
import os, signal, sys
from pathlib import Path
from tests.versions.deploying import Host
url, place, folder, stage = sys.argv[1:]

def reached(step):
    if step == stage:
        os.kill(os.getpid(), signal.SIGKILL)

host = Host(url, Path(place))
if stage in ("unpacking", "announced", "switched"):
    target, name = {
        "unpacking": (type(host.versions), "store"),
        "announced": (type(host.registry), "announce"),
        "switched": (type(host.registry), "switch"),
    }[stage]
    whole = getattr(target, name)
    def then_die(*arguments, **more):
        if stage == "unpacking":
            staging = host.versions.path("." + arguments[1].version + ".1.1")
            staging.mkdir(parents=True)
            (staging / "half").write_text("x")
        else:
            whole(*arguments, **more)
        reached(stage)
    setattr(target, name, then_die)
host.deploy(Path(folder), reached)
"""

STAGES = ("pack", "unpacking", "install", "inspect", "store", "announced", "warm", "switch", "switched")


@pytest.fixture
def host(redis_url: str, tmp_path: Path) -> Iterator[Host]:
    host = Host(redis_url, tmp_path)
    yield host
    host.close()


@pytest.mark.parametrize("stage", STAGES)
def test_a_deploy_killed_at_a_stage(host: Host, redis_url: str, stage: str) -> None:
    """Before the switch the old version is served, after it the new one; never neither, never half of one."""
    old = host.deploy(host.folder("hello", greeting("old"))).plan.version
    folder = host.folder("hello", greeting("new"))
    new = pack(folder).version
    killed = subprocess.run(
        [sys.executable, "-c", _SCRIPT, redis_url, str(host.place), str(folder), stage],
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    live = host.live("hello")
    assert live == (new if stage == "switched" else old)
    place = host.versions.fetch(live or "", "hello")
    assert pack(place).files == ((("__init__.py"), greeting("new" if live == new else "old").encode()),)
    assert host.deploy(folder).changed == (stage != "switched")
    assert host.live("hello") == new
    assert [entry.version for entry in host.registry.history("hello")] == [new, old]


def test_a_deploy_killed_while_an_import_hangs(
    host: Host, redis_url: str, tmp_path: Path, eventually: Callable[..., object]
) -> None:
    """The import and what it has started end with the process that deploys."""
    folder = host.folder("hello", "import subprocess\nsubprocess.run(['sleep', '600'])\n")
    deploying = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, redis_url, str(host.place), str(folder), "none"], cwd=Path(__file__).parents[2]
    )

    def importing() -> list[psutil.Process]:
        inspectors = [
            each for each in psutil.Process(deploying.pid).children() if "runtime.authoring.inspector" in each.cmdline()
        ]
        return [each for inspector in inspectors for each in (inspector, *inspector.children(recursive=True))]

    eventually(lambda: any(each.name() == "sleep" for each in importing()))
    processes = importing()
    deploying.kill()
    deploying.wait()
    assert len(processes) == 3
    eventually(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes), 5)
    assert host.live("hello") is None
