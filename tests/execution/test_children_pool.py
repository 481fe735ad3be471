"""The life of warm children: started on need, reused, replaced, cancelled and ended."""

from __future__ import annotations

import os
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from runtime.execution import lending
from runtime.execution.pool import ChildPool

Make = Callable[..., Any]
Eventually = Callable[..., None]

WHO = """
    import os, pathlib, time
    @function
    def who(): return os.getpid()
    @function
    def hold(seen: str, until: str):
        pathlib.Path(seen).touch()
        while not os.path.exists(until): time.sleep(0.005)
        return os.getpid()
"""


def test_child_used_last_is_used_next(children: Make) -> None:
    """Calls one after the other share a child; calls at the same time have one each, and the last one free is next."""
    sample = children(WHO)
    seen, until = sample.folder.parent / "seen", sample.folder.parent / "until"
    first = sample.result("who")
    assert sample.result("who") == first
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(sample.result, "hold", {"seen": str(seen), "until": str(until)})
        while not seen.exists():
            time.sleep(0.001)
        second = sample.result("who")
        assert second != first
        assert sample.pool.size == 2
        until.touch()
        assert held.result() == first
    assert sample.result("who") == first


def test_warm_child_is_ready_for_the_first_call(children: Make) -> None:
    """`warm` starts a child and imports the folder; the first call finds it."""
    sample = children(WHO)
    assert sample.pool.warm() is None
    assert sample.pool.size == 1
    sample.result("who")
    assert sample.pool.size == 1


def test_child_is_replaced_after_its_calls(children: Make, gone: Callable[[int], bool]) -> None:
    """After `max_calls` calls a child is ended and the next call gets a new one."""
    sample = children(WHO, max_calls=3)
    pids = [sample.result("who") for _ in range(6)]
    assert pids[:3] == [pids[0]] * 3
    assert pids[3:] == [pids[3]] * 3
    assert pids[0] != pids[3]
    assert gone(pids[0])
    assert gone(pids[3])


def test_child_that_idles(children: Make, gone: Callable[[int], bool]) -> None:
    """A child idle for longer than `idle_s` is ended, with its exit handlers; a younger one stays."""
    code = WHO + "    import atexit\n    atexit.register(lambda: pathlib.Path(os.environ['HOME'], 'left').touch())\n"
    patient, hasty = children(code, idle_s=300), children(code, idle_s=0)
    for sample in (patient, hasty):
        pid = sample.result("who")
        sample.pool.reap_idle()
        assert gone(pid) == (sample is hasty)
    assert (patient.pool.size, hasty.pool.size) == (1, 0)
    assert (hasty.state_dir / "left").exists()


def test_calls_that_come_together_do_not_start_a_child_each(children: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one starts the others wait, and share the first that is free: calls are shorter than imports."""
    monkeypatch.setattr(lending, "_STARTS", 1)
    sample = children("import time\ntime.sleep(0.3)\n" + textwrap.dedent(WHO))
    with ThreadPoolExecutor(8) as threads:
        pids = list(threads.map(lambda _: sample.result("who"), range(8)))
    assert 1 <= len(set(pids)) <= 3


def test_a_pool_without_children_has_no_thread(children: Make, eventually: Eventually) -> None:
    """The thread that starts children ends with the last of them, and there is another for the next."""
    sample = children(WHO, idle_s=0)

    def starters() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("children-of-")]

    before = starters()
    for _ in range(2):
        sample.result("who")
        assert len(starters()) == len(before) + 1
        sample.pool.reap_idle()
        eventually(lambda: starters() == before)


def test_child_that_dies_idle(children: Make, gone: Callable[[int], bool]) -> None:
    """A child that died between two calls is replaced, and the call knows nothing of it."""
    sample = children(
        "import os, threading\n@function\ndef run():\n    threading.Timer(0.01, os._exit, [1]).start()\n    return os.getpid()"
    )
    first = sample.result("run")
    for _ in range(2000):
        if gone(first) or _is_zombie(first):
            break
        time.sleep(0.005)
    assert sample.result("run") != first


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    ("body", "clean_up", "least_s", "most_s"),
    [
        ("time.sleep(60)", "time.sleep(1)", 1.0, 1.9),
        ("await asyncio.sleep(60)", "await asyncio.sleep(1)", 1.0, 1.9),
        ("sum(range(10**12))", "pass", 2.0, 2.9),
        ("time.sleep(60)", "time.sleep(60)", 2.0, 2.9),
    ],
    ids=["sync", "async", "deaf", "slow"],
)
def test_cancelled_call(
    children: Make, eventually: Eventually, body: str, clean_up: str, least_s: float, most_s: float
) -> None:
    """The handler is asked to end, and may clean up for two seconds; then it is killed, with all that it started."""
    sample = children(
        f"""
        import asyncio, pathlib, subprocess, time
        @function
        {"async " if "await" in body else ""}def run(path: str):
            subprocess.Popen(["sleep", "300"], start_new_session=True)
            pathlib.Path(path).touch()
            try:
                {body}
            finally:
                {clean_up}
                pathlib.Path(path + ".clean").touch()
        """
    )
    seen = sample.folder.parent / "seen"
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(sample.call, "run", {"path": str(seen)}, invocation_id="mine")
        eventually(seen.exists)
        assert not sample.pool.cancel("another")
        began = time.monotonic()
        # Whoever renews the lease says so again and again.
        while sample.pool.cancel("mine"):
            wait([call], 0.25)
        ending = call.result(timeout=10)
        took_s = time.monotonic() - began
    assert ending.failure.kind == "cancelled"
    assert seen.with_name("seen.clean").exists() == (least_s < 2)
    assert least_s <= took_s < most_s
    assert sample.pool.size == 0


def test_call_cancelled_while_its_child_starts(children: Make, eventually: Eventually) -> None:
    """A cancel during the import ends the call, too."""
    sample = children("import os, pathlib, time\npathlib.Path(os.environ['HOME'], 'in').touch()\ntime.sleep(60)")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(sample.call, "run", invocation_id="mine")
        eventually((sample.state_dir / "in").exists)
        assert sample.pool.cancel("mine")
        assert call.result(timeout=10).failure.kind == "cancelled"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import absent_module", "ModuleNotFoundError: No module named 'absent_module' (__init__.py:2, in <module>)"),
        ("def broken(:", "SyntaxError"),
        ("__import__('os')._exit(4)", "exit code 4"),
        ("__import__('time').sleep(60)", "did not end within 0.5 s"),
        ("__import__('sys').exit('no')", "SystemExit"),
        ("x = 1", "no function is declared"),
    ],
    ids=["import", "syntax", "exit", "hang", "sys-exit", "empty"],
)
def test_folder_that_cannot_be_imported(children: Make, code: str, reason: str) -> None:
    """A folder that fails at import fails the call as "start", with the reason; so does `warm`."""
    sample = children(code, import_deadline_s=0.5 if "sleep" in code else 20)
    failure = sample.call("run").failure
    assert failure.kind == "start"
    assert reason in failure.message
    assert sample.pool.warm() == failure
    assert sample.pool.size == 0


def test_calls_that_wait_for_an_import_that_hangs(children: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They fail with it, and do not each try in turn: the import is begun once, not eight times."""
    monkeypatch.setattr(lending, "_STARTS", 1)
    begun = tmp_path / "begun"
    code = f"import pathlib, time\nwith open({str(begun)!r}, 'a') as file: file.write('x')\ntime.sleep(60)"
    sample = children(code, import_deadline_s=0.5)
    with ThreadPoolExecutor(8) as threads:
        failures = list(threads.map(lambda _: sample.call("run").failure, range(8)))
    assert [failure.kind for failure in failures] == ["start"] * 8
    assert begun.read_text() == "x"


def test_folder_or_interpreter_that_is_gone(tmp_path: Path) -> None:
    """What keeps a process from being started is named."""
    for options, name in (({"folder": tmp_path / "absent"}, "absent"), ({"python": "/absent/python"}, "/absent/python")):
        pool = ChildPool(
            **{"folder": tmp_path, "name": "x", "state_dir": tmp_path / "state", "secret": lambda _: None, **options}
        )
        failure = pool.warm()
        assert failure is not None
        assert failure.kind == "start"
        assert name in failure.message
        assert pool.size == 0
        pool.close()


def test_temporary_folders(children: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child's temporary folder goes with it; those of killed workers are swept by the next pool, those in use are not."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sample = children("import os\n@function\ndef run(): return os.environ['TMPDIR']")
    used, stale = Path(sample.result("run")), tmp_path / "oncue-child-stale"
    stale.mkdir()
    for folder in (used, stale):
        os.utime(folder, (0, 0))
    children("")
    assert (used.exists(), stale.exists()) == (True, False)
    sample.pool.close()
    assert not used.exists()


def test_output_callback_that_raises(children: Make) -> None:
    """An error of the caller's own callback reaches the caller, and the child it left at work is ended."""
    sample = children("import time\n@function\ndef run():\n    print('x')\n    time.sleep(60)")

    def on_output(_: list[dict[str, Any]]) -> None:
        raise ConnectionError("away")

    with pytest.raises(ConnectionError, match="away"):
        sample.call("run", on_output=on_output)
    assert sample.pool.size == 0


def test_pool_that_closes(children: Make, eventually: Eventually) -> None:
    """Closing lets calls end within the grace, kills what does not, and refuses new calls."""
    sample = children(WHO)
    seen = [sample.folder.parent / f"seen{i}" for i in range(2)]
    until = sample.folder.parent / "until"
    with ThreadPoolExecutor(2) as pool:
        ends = pool.submit(sample.call, "hold", {"seen": str(seen[0]), "until": str(until)})
        hangs = pool.submit(sample.call, "hold", {"seen": str(seen[1]), "until": "/absent"})
        eventually(lambda: all(path.exists() for path in seen))
        closing = threading.Thread(target=sample.pool.close, args=(1.0,))
        closing.start()
        until.touch()
        assert ends.result(10).failure is None
        assert hangs.result(10).failure.type == "PoolClosed"
        closing.join(10)
    assert sample.pool.size == 0
    assert sample.call("who").failure.type == "PoolClosed"


def test_many_threads_share_a_pool(children: Make) -> None:
    """Each call gets its own answer, however many threads call at once."""
    sample = children("@function\ndef same(x: int): return x")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda x: sample.result("same", {"x": x}), range(1000))) == list(range(1000))
    assert sample.pool.size <= 8
