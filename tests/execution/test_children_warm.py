"""What one call leaves in a warm child: nothing that the next one would be charged for, or be read as its words."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]

CODE = """
    import json, os, pathlib, signal, sys, threading, time

    def link():
        for descriptor in range(3, 4096):  # as many as this process may have had open when it started the child
            try:
                if "socket" in os.readlink(f"/proc/self/fd/{descriptor}"):
                    return descriptor
            except OSError:
                continue

    @function
    def leave(what: str):
        exec(what, globals())

    @function
    def look():
        print("mine")
        time.sleep(0.01)
        pathlib.Path(os.environ["TMPDIR"], "made").write_text("readable")
        return [os.getcwd(), pathlib.Path(os.environ["TMPDIR"], "made").read_text()]
"""


@pytest.mark.parametrize(
    ("what", "children_left"),
    [
        ("os.chdir('/')", 1),
        ("os.umask(0o777)", 1),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", 1),
        ("signal.setitimer(signal.ITIMER_REAL, 0.005)", 1),
        ("sys.stdout = sys.stderr = None", 1),
        ("json.dumps = json.loads = lambda *_, **__: 'broken'", 1),
        ("sys.stdout.close()", 0),
        ("os.close(1)", 0),
        ("os.dup2(os.open('/dev/null', os.O_WRONLY), 2)", 0),
    ],
)
def test_call_after_one_that_changed_its_process(children: Make, what: str, children_left: int) -> None:
    """Folder, file mode, alarm, signal and streams are put right, or the child is not used again."""
    sample = children(CODE)
    assert sample.call("leave", {"what": what}).failure is None
    assert sample.pool.size == children_left
    assert sample.result("look") == [str(sample.folder.resolve()), "readable"]
    assert sample.lines("stdout") == ["mine"]


def test_handler_that_ignored_sigterm(children: Make, eventually: Callable[..., None]) -> None:
    """The call after it is asked to end when it is cancelled, and may clean up."""
    sample = children(
        CODE
        + """
    @function
    def wait(path: str):
        pathlib.Path(path).touch()
        try:
            time.sleep(60)
        finally:
            pathlib.Path(path).unlink()
"""
    )
    assert sample.call("leave", {"what": "signal.signal(signal.SIGTERM, signal.SIG_IGN)"}).failure is None
    seen = sample.folder.parent / "seen"
    from_another_thread = threading.Thread(target=lambda: (eventually(seen.exists), sample.pool.cancel("mine")))
    from_another_thread.start()
    ending = sample.call("wait", {"path": str(seen)}, invocation_id="mine")
    from_another_thread.join()
    assert ending.failure.kind == "cancelled"
    assert ending.duration_s < 1.5
    assert not seen.exists()


@pytest.mark.parametrize(
    "what", ["os.write(link(), b'no frame at all')", "os.write(link(), bytes([6, 0, 1, 0, 0, 0, 0, 0, 0, 0, 33]))"]
)
def test_handler_that_writes_to_the_socket(children: Make, what: str) -> None:
    """Its attempt fails by its own fault, and the child is not used again."""
    sample = children(CODE)
    failure = sample.call("leave", {"what": what}).failure
    assert (failure.kind, failure.type, failure.child_died) == ("crash", "ChildGarbled", True)
    assert sample.pool.size == 0
    assert sample.result("look")[1] == "readable"


def test_handler_that_closes_the_socket(children: Make) -> None:
    """Its child is lost, and it alone is charged."""
    sample = children(CODE)
    assert sample.call("leave", {"what": "os.closerange(3, 4096)"}).failure.kind == "crash"
    assert sample.result("look")[1] == "readable"


def test_folder_whose_children_hear_nothing(children: Make) -> None:
    """A call that no child can be told of fails after a few children, and is not tried for ever."""
    sample = children(
        """
        import os, socket, sys

        socket.socket(fileno=os.dup(int(sys.argv[1]))).shutdown(socket.SHUT_RD)

        @function
        def run() -> None: ...
        """
    )
    failure = sample.call("run").failure
    assert failure is not None
    assert (failure.kind, failure.type) == ("crash", "ChildGarbled")


def test_thread_of_an_earlier_call(children: Make) -> None:
    """It can no more report progress, emit or ask: it would do so in the name of the call that runs now."""
    sample = children(
        """
        import pathlib, threading
        go, said = threading.Event(), []
        @function
        def first(*, ctx: Context):
            def late():
                go.wait(10)
                for say in (lambda: ctx.progress(1), lambda: ctx.emit("a.b"), lambda: ctx.artifact("default-x")):
                    try:
                        say()
                    except Exception as error:
                        said.append(str(error))
                said.append("end")
            threading.Thread(target=late, daemon=True).start()
        @function
        def second(*, ctx: Context):
            go.set()
            while "end" not in said: pass
            return said
        """
    )
    sample.call("first")
    ending = sample.call("second")
    assert ending.follow_ups == []
    told = [
        f"ctx.{word} was called after the handler had returned; call it before" for word in ("progress", "emit", "artifact")
    ]
    assert json.loads(ending.body) == [*told, "end"]
    assert sample.output == []


def test_very_long_log_record(children: Make) -> None:
    """It is cut in the child: what is not kept does not travel."""
    sample = children("@function\ndef run(*, ctx: Context): ctx.log.info('x' * 10_000_000)")
    assert sample.result("run") is None
    (line,) = sample.lines("log")
    assert len(line) == 8 * 1024
    assert line.endswith("x…")
