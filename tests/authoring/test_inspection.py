"""A folder is inspected in a throwaway process: whatever its import does, the host gets a manifest or a problem."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.authoring.inspection import inspect
from runtime.authoring.manifest import Manifest, Problem

HANDLER = "from runtime import function\n@function\ndef hello(name: str = 'you') -> str:\n    return name\n"


def processes_naming(text: str) -> list[int]:
    """Pids of living processes that have `text` in their command line or environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            state = (directory / "stat").read_text().rpartition(")")[2].split()[0]
            told = (directory / "cmdline").read_bytes() + (directory / "environ").read_bytes()
        except OSError:
            continue
        if state != "Z" and text.encode() in told:
            found.append(int(directory.name))
    return found


def test_a_folder_with_an_init_is_described(manifest: Callable[..., Manifest]) -> None:
    """Names, summaries, places and schemas of all functions, in order of name."""
    found = manifest(
        '''
        from runtime import function, http

        @http("POST /hooks/{customer}")
        def second(customer: str, count: int = 2) -> dict[str, int]:
            """Count for a customer.

            At length.
            """

        @function("first")
        async def other(): ...
        '''
    )
    first, second = found.functions
    assert (first.name, first.is_async, first.triggers) == ("first", True, ())
    assert (second.name, second.summary, second.file, second.line) == ("second", "Count for a customer.", "__init__.py", 4)
    assert "At length." in second.description
    assert second.input_schema["required"] == ["customer"]
    assert second.output_schema == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert Manifest.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_a_folder_without_an_init_serves_its_modules(manifest: Callable[..., Manifest]) -> None:
    """Every top-level module counts, but for tests, conftest and private ones."""
    found = manifest(
        None,
        one="from ._private import handler\nfrom runtime import function\n@function\ndef one(): return handler()\n",
        two=HANDLER,
        _private="def handler(): return 1\n",
        test_two="raise AssertionError('a test was imported')\n",
        conftest="raise AssertionError('a conftest was imported')\n",
    )
    assert [(each.name, each.file) for each in found.functions] == [("hello", "two.py"), ("one", "one.py")]


def test_modules_import_each_other_both_ways(manifest: Callable[..., Manifest]) -> None:
    """Relative, and by bare name as a script would."""
    found = manifest(
        "from runtime import function\nfrom .near import a\nimport beside\n@function\ndef f(): return a + beside.b\n",
        near="from . import beside\na = beside.b\n",
        beside="b = 1\n",
    )
    assert [each.name for each in found.functions] == ["f"]


@pytest.mark.parametrize("name", ["email", "json", "typing", "functions", "runtime", "with.dot"])
def test_a_folder_may_have_any_name(manifest: Callable[..., Manifest], name: str) -> None:
    """A folder named like a module of the standard library, or of ours, shadows nothing."""
    found = manifest(f"import email.message, json, http.client, typing, queue\n{HANDLER}", name)
    assert (found.folder, found.functions[0].name) == (name, "hello")


def test_a_module_named_like_the_standard_library_is_reached_relatively(manifest: Callable[..., Manifest]) -> None:
    """`import json` stays the standard one; `from .json import` is the folder's."""
    found = manifest(
        f"import json as standard\nfrom .json import mine\nassert standard.dumps and mine\n{HANDLER}", json="mine = 1\n"
    )
    assert len(found.functions) == 1


def test_a_decorated_wrapper_is_one_function(manifest: Callable[..., Manifest]) -> None:
    """functools.wraps shares the declaration; the wrapper is what runs."""
    found = manifest(
        """
        import functools
        from runtime import function, on

        def logged(handler):
            @functools.wraps(handler)
            def inner(*args, **kwargs):
                return handler(*args, **kwargs)
            return inner

        @logged
        @on("a.b")
        def f(x: int): ...

        alias = f
        """
    )
    (only,) = found.functions
    assert only.name == "f"
    assert len(only.triggers) == 1


@pytest.mark.parametrize(
    ("code", "file", "line", "reason"),
    [
        ("x = 1\ndef broken(:\n", "__init__.py", 2, "SyntaxError: "),
        ("x = 1\n  y = 2\n", "__init__.py", 2, "unexpected indent"),
        ("\nimport no_such_thing_at_all\n", "__init__.py", 2, "add it to sample/requirements.txt"),
        ("from json import no_such_name\n", "__init__.py", 1, "cannot import name 'no_such_name'"),
        ("\n\n1 / 0\n", "__init__.py", 3, "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('bye')\n", "__init__.py", 2, "the import calls sys.exit('bye')"),
        ("raise KeyboardInterrupt\n", "__init__.py", 1, "KeyboardInterrupt"),
        ("class E(BaseException):\n    def __str__(self): raise ValueError\nraise E\n", "__init__.py", 3, "E"),
        ("compile('x =', '<string>', 'exec')\n", None, None, "SyntaxError: "),
        ("x = 1\n", None, None, "no function is declared in sample/"),
        ("from runtime import function\n\n@function\ndef f(ctx: 'Missing'): ...\n", "__init__.py", 3, "cannot be read"),
        ("from runtime import function\n@function('bad name')\ndef f(): ...\n", "__init__.py", 2, "is no function name"),
        (
            "from runtime import http\n@http('POST /a')\n@http('POST /a', respond='result')\ndef f(): ...\n",
            "__init__.py",
            2,
            "declares one trigger twice: POST /a; remove one",
        ),
        (
            "from runtime import Hmac\nHmac(header='X', algoritm='sha1')\n",
            "__init__.py",
            2,
            "Hmac(algoritm='sha1'): there is no",
        ),
        (
            "from runtime import http\n@http('POST /a/{b}')\ndef f(): ...\n",
            "__init__.py",
            2,
            "names 'b', which is no parameter",
        ),
    ],
)
def test_a_broken_folder_says_where_and_why(
    problem: Callable[..., Problem], code: str, file: str | None, line: int | None, reason: str
) -> None:
    """The place is the author's own line, and the reason one can act upon."""
    found = problem(code)
    assert (found.file, found.line) == (file, line), found
    assert reason in found.reason
    assert str(found).startswith("sample/")


def test_an_error_in_another_module_is_placed_there(problem: Callable[..., Problem]) -> None:
    """The innermost line of the folder's own."""
    found = problem("from . import near\n", near="import json\n\njson.loads('{')\n")
    assert (found.file, found.line) == ("near.py", 3)
    assert "JSONDecodeError" in found.reason


def test_two_functions_of_one_name_are_refused(problem: Callable[..., Problem]) -> None:
    """Both places are named, and the cure."""
    found = problem(f"from . import other\n{HANDLER}", other=HANDLER)
    assert "two functions are named 'hello': " in found.reason
    assert "__init__.py:3" in found.reason
    assert "other.py:2" in found.reason
    assert "rename one" in found.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os\nprint('last words', flush=True)\nos._exit(7)\n", "(exit code 7); it last printed: last words"),
        ("import os\nos._exit(0)\n", "(exit code 0)"),
        ("import ctypes\nctypes.string_at(0)\n", "(killed by SIGSEGV)"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "(killed by SIGKILL)"),
        ("import os\nos.kill(os.getpid(), 40)\n", "(killed by signal 40)"),
        ("import os\nos.closerange(0, 256)\n" + HANDLER, "the import ended its process (exit code 1)"),
        ("import os, sys\nos.write(int(sys.argv[1]), b'17\\n')\nos._exit(0)\n", "the import ended its process"),
        ("import os, sys\nos.write(int(sys.argv[1]), b'[]\\n')\nos._exit(0)\n", "the import ended its process"),
        ("import os, sys\nos.write(int(sys.argv[1]), b'\\xff{\\n')\nos._exit(0)\n", "the import ended its process"),
        (
            "import os, sys\nfd = int(sys.argv[1])\nwhile True: os.write(fd, b'x' * 65536)\n",
            "the manifest is larger than 8 MiB",
        ),
    ],
)
def test_an_import_that_ends_its_process_is_a_problem(problem: Callable[..., Problem], code: str, reason: str) -> None:
    """Exits and crashes are told with how the process ended."""
    assert reason in problem(code).reason


def test_an_import_that_hangs_is_ended_in_time(write: Callable[..., Path]) -> None:
    """The deadline holds, and nothing is left of it."""
    folder = write("import time, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n")
    started = time.monotonic()
    found = inspect(folder, deadline_s=0.7)
    assert time.monotonic() - started < 4
    assert isinstance(found, Problem)
    assert found.reason == "the import did not end within 0.7 s; move slow work into the handler"
    assert processes_naming(str(folder)) == []


ALLOW = "import sys; from runtime.authoring.confining import allow_writes_below"

NAMES_TEMP = "hello.__doc__ = tempfile.gettempdir()\n"

DAEMON = """
import os, subprocess, sys
{before}
subprocess.Popen(["sleep", "600"], env={{"MARK": {mark!r}}}, pass_fds=(int(sys.argv[1]),))
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    subprocess.Popen(["sleep", "600"], env={{"MARK": {mark!r}}}, start_new_session=True)
    os.execve("/bin/sleep", ["sleep", "600"], {{"MARK": {mark!r}}})
{after}
"""


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (HANDLER, "the import left sleep 600, sleep 600 running; start processes in the handler"),
        ("os._exit(3)", "exit code 3"),
        ("import time; time.sleep(600)", "did not end within"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    ],
    ids=["good", "exit", "hang", "crash"],
)
def test_a_daemon_that_an_import_starts_is_refused_and_gone(write: Callable[..., Path], after: str, reason: str) -> None:
    """Neither a session of its own nor a double fork hides it, or lets it outlive the inspection, or hold that up."""
    mark = f"oncue-test-daemon-{os.getpid()}-{time.time_ns()}"
    folder = write(DAEMON.format(before="", after=after, mark=mark))
    started = time.monotonic()
    found = inspect(folder, deadline_s=20 if after == HANDLER else 1.5)
    assert isinstance(found, Problem)
    assert reason in found.reason
    assert time.monotonic() - started < 5
    assert processes_naming(mark) == []
    assert processes_naming(str(folder)) == []


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nfor _ in range(160): print('x' * 65536)\nsys.stderr.write('y' * 1000000)\n",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n",
        "import sys\nsys.stdout.close()\nsys.stderr = None\n",
        "import atexit, time\natexit.register(time.sleep, 600)\n",
        "import os\nos.chdir('/')\n",
        "import sys\nsys.stdin.read()\n",
        "import warnings\nwarnings.simplefilter('error')\n",
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n",
    ],
    ids=["prints 10 MB", "thread", "closed output", "atexit", "chdir", "stdin", "warnings", "sigterm"],
)
def test_an_odd_import_serves_all_the_same(manifest: Callable[..., Manifest], code: str) -> None:
    """What an import does on the side keeps nobody from reading its declarations, at once."""
    started = time.monotonic()
    assert [each.name for each in manifest(code + HANDLER).functions] == ["hello"]
    assert time.monotonic() - started < 5


needs_landlock = pytest.mark.skipif(
    subprocess.run(
        [sys.executable, "-c", f"{ALLOW}; sys.exit(not allow_writes_below())"], cwd=Path(__file__).parents[2], check=False
    ).returncode
    != 0
    and os.environ.get("CI") != "true",
    reason="this kernel has no Landlock, so an import is not confined",
)


@needs_landlock
@pytest.mark.parametrize(
    "change",
    [
        "open(kept, 'a').write('more')",
        "open(kept, 'w')",
        "os.truncate(kept, 0)",
        "os.unlink(kept)",
        "os.rename(kept, kept + '.old')",
        "os.mkdir(kept + '.d')",
        "os.symlink('/', kept + '.link')",
        "open(os.path.join(os.path.dirname(__file__), 'own.txt'), 'w')",
        "sys.exit(subprocess.run(['rm', kept]).returncode)",
        "pid = os.fork() or (os.setsid(), os.unlink(kept)); os.waitpid(pid, 0)[1] and os.unlink(kept)",
    ],
)
def test_an_import_that_writes_outside_changes_nothing(write: Callable[..., Path], tmp_path: Path, change: str) -> None:
    """Whatever way it takes, it is refused, with file and line, and all is as it was."""
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    folder = write(f"import os, subprocess, sys\nkept = {str(kept)!r}\n{change}\n{HANDLER}")
    before = sorted(tmp_path.rglob("*"))
    found = inspect(folder)
    assert isinstance(found, Problem), found
    assert (found.file, found.line) == ("__init__.py", 3) or "sys.exit" in found.reason
    if "sys.exit" not in change:
        assert found.reason.startswith("PermissionError: [Errno 13] Permission denied: ")
        assert found.reason.endswith(
            "; an import may read, and write temporary files: move what else it writes into the handler"
        )
    assert sorted(tmp_path.rglob("*")) == before
    assert kept.read_text() == "kept"


def test_an_import_may_write_temporary_files(manifest: Callable[..., Manifest]) -> None:
    """Below TMPDIR and HOME, which are gone afterwards; semaphores can be made, and /dev/null takes what it is given."""
    code = """
        import multiprocessing, os, pathlib, tempfile
        pathlib.Path.home().joinpath(".cache", "x").mkdir(parents=True)
        place = tempfile.mkdtemp()
        pathlib.Path(place, "a").write_text("a")
        os.rename(os.path.join(place, "a"), pathlib.Path.home() / "b")
        LOCK = multiprocessing.Lock()
        open(os.devnull, "w").write("x")
    """
    (function,) = manifest(textwrap.dedent(code) + HANDLER + f"\n{NAMES_TEMP}").functions
    assert function.summary
    assert not Path(function.summary).exists()


def test_the_environment_of_the_host_stays_outside(manifest: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret of the host can be read at import."""
    monkeypatch.setenv("ONCUE_SECRET_TOKEN", "hunter2")
    manifest(f"import os\nassert not [name for name in os.environ if 'ONCUE' in name]\n{HANDLER}")


def test_no_byte_code_is_left_in_the_folder(write: Callable[..., Path]) -> None:
    """An inspection writes nothing."""
    folder = write(f"from . import near\n{HANDLER}", near="a = 1\n")
    assert isinstance(inspect(folder), Manifest)
    assert sorted(path.name for path in folder.iterdir()) == ["__init__.py", "near.py"]


@pytest.mark.parametrize("name", ["has space", ".hidden", "", "a" * 64, "é", "a/b"])
def test_a_bad_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    """The name and what it may hold are told; nothing is started."""
    found = inspect(tmp_path, name=name) if name else inspect(Path("/"))
    assert isinstance(found, Problem)
    assert "is no folder name; use letters, digits" in found.reason


def test_what_is_no_folder_is_a_problem(tmp_path: Path) -> None:
    """A missing path and a file are told apart from a folder."""
    (tmp_path / "file").write_text("")
    for name in ("missing", "file"):
        found = inspect(tmp_path / name)
        assert isinstance(found, Problem)
        assert f"like {name}/__init__.py" in found.reason


def test_an_inspection_leaves_no_descriptor_behind(write: Callable[..., Path]) -> None:
    """The host's own table of open files is as before."""
    folder = write(HANDLER)
    inspect(folder)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        inspect(folder)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
