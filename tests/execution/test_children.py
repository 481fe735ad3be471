"""What one call through a warm child brings back: results, failures of the handler, and its output."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


def test_json_result_of_a_call_by_name(children: Make) -> None:
    """Data fills parameters by name, and the result comes back as strict JSON with its media type."""
    ending = children("@function\ndef add(a: int, b: int = 2): return {'sum': a + b}").call("add", {"a": 40})
    assert ending.failure is None
    assert (json.loads(ending.body), ending.media_type, ending.filename) == ({"sum": 42}, "application/json", None)
    assert ending.follow_ups == []
    assert ending.duration_s > 0


@pytest.mark.parametrize(
    ("expression", "body", "media_type", "filename"),
    [
        ("None", b"null", "application/json", None),
        ("'é'", '"é"'.encode(), "application/json", None),
        ("b'\\x00raw'", b"\x00raw", "application/octet-stream", None),
        ("Artifact(b'<a>', 'text/html', 'a.html')", b"<a>", "text/html", "a.html"),
        ("Artifact(written('a.txt'))", b"written", "text/plain", None),
        ("Model(x=1)", b'{"x":1}', "application/json", None),
        ("[Data(x=b'ab')]", b'[{"x":"YWI="}]', "application/json", None),
        ("b'x' * 3_000_000", b"x" * 3_000_000, "application/octet-stream", None),
    ],
    ids=["none", "text", "bytes", "artifact", "file", "model", "dataclass", "large"],
)
def test_result_of_each_kind(children: Make, expression: str, body: bytes, media_type: str, filename: str | None) -> None:
    """Every kind of result arrives byte for byte, in its media type."""
    ending = children(
        f"""
        import dataclasses, os, pathlib, pydantic
        class Model(pydantic.BaseModel):
            x: int
        @dataclasses.dataclass
        class Data:
            x: bytes
        def written(name):
            path = pathlib.Path(os.environ["TMPDIR"], name)
            path.write_text("written")
            return path
        @function
        def give(): return {expression}
        """
    ).call("give")
    assert (ending.failure, ending.body, ending.media_type, ending.filename) == (None, body, media_type, filename)


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ("{'rows': [1, object()]}", "the result['rows'][1] is an object"),
        ("[{'x': float('nan')}]", "the result[0]['x'] is nan"),
        ("float('inf')", "the result is inf"),
        ("Artifact(pathlib.Path('absent'))", "No such file or directory: 'absent'"),
        ("looped()", "the result (list) has no JSON form"),
    ],
)
def test_result_that_has_no_json_form(children: Make, expression: str, place: str) -> None:
    """A result that JSON cannot write fails as such, naming the type and the place in it; the child stays."""
    sample = children(
        f"""
        import pathlib
        def looped():
            ring = []
            ring.append(ring)
            return ring
        @function
        def give(): return {expression}
        @function
        def fine(): return 1
        """
    )
    failure = sample.call("give").failure
    assert (failure.kind, failure.child_died) == ("result", False)
    assert place in failure.message
    assert sample.result("fine") == 1
    assert sample.pool.size == 1


def test_word_nan_in_a_text_result(children: Make) -> None:
    """Only numbers are refused as not finite; texts may say NaN."""
    assert children("@function\ndef give(): return ['NaN', 'Infinity']").result("give") == ["NaN", "Infinity"]


def test_exception_of_a_handler(children: Make) -> None:
    """An exception gives its type, its text with the author's line, and a traceback without OnCue's own frames."""
    sample = children(
        """
        @function
        def broken(): inner()
        def inner():
            try:
                {}['key']
            except KeyError as error:
                raise ValueError("width must be positive") from error
        """
    )
    failure = sample.call("broken").failure
    assert (failure.kind, failure.type, failure.child_died) == ("raised", "ValueError", False)
    assert failure.message == "width must be positive (__init__.py:9, in inner)"
    assert "KeyError: 'key'" in failure.traceback
    assert "in broken" in failure.traceback
    assert "runtime/" not in failure.traceback


@pytest.mark.parametrize(
    ("statement", "kind", "type", "retry_after_s"),
    [
        ("raise Retry('busy', after=7)", "retry", "Retry", 7),
        ("raise Retry", "retry", "Retry", None),
        ("raise GiveUp('no such user')", "give_up", "GiveUp", None),
        ("raise Busy", "raised", "Busy", 2.5),
        ("raise Unreadable", "raised", "Unreadable", None),
        ("raise Refused(response=Answer('12'))", "raised", "Refused", 12),
        ("raise Refused(headers={'Retry-After': ' 1.5'})", "raised", "Refused", None),
        ("raise Refused(headers={'Retry-After': 'Fri, 31 Dec 1999 23:59:59 GMT'})", "raised", "Refused", 0),
        ("raise Refused(response=None)", "raised", "Refused", None),
        ("raise KeyboardInterrupt", "raised", "KeyboardInterrupt", None),
        ("__import__('sys').exit(3)", "raised", "SystemExit", None),
    ],
)
def test_exception_with_a_meaning(children: Make, statement: str, kind: str, type: str, retry_after_s: float | None) -> None:
    """Retry, GiveUp, exits, `retry_after` and the Retry-After of an HTTP answer are told apart; none costs the child."""
    sample = children(
        f"""
        class Busy(Exception):
            retry_after = 2.5
        class Answer:
            def __init__(self, after): self.headers = {{"Retry-After": after}}
        class Refused(Exception):
            def __init__(self, **more): vars(self).update(more)
        class Unreadable(Exception):
            retry_after = "soon"
            def __str__(self): raise RuntimeError
        @function
        def run(): {statement}
        @function
        def fine(): return 1
        """
    )
    failure = sample.call("run").failure
    assert (failure.kind, failure.type, failure.retry_after_s, failure.child_died) == (kind, type, retry_after_s, False)
    assert failure.message
    assert sample.result("fine") == 1
    assert sample.pool.size == 1


def test_text_that_is_no_unicode(children: Make) -> None:
    """Half characters in errors, logs and progress arrive as question marks, since no record can hold them."""
    sample = children(
        """
        @function
        def run(*, ctx: Context):
            ctx.log.info("log \\udc80")
            ctx.progress(1, "note \\udc80")
            raise ValueError("error \\udc80")
        """
    )
    assert sample.call("run").failure.message.startswith("error ? (")
    assert [frame.get("line") or frame.get("note") for frame in sample.output] == ["log ?", "note ?"]


def test_long_traceback(children: Make) -> None:
    """A traceback is bounded, and keeps both its ends."""
    traceback = children("@function\ndef run(): raise ValueError('a' * 100_000 + 'end')").call("run").failure.traceback
    assert len(traceback) <= 16 * 1024
    assert traceback.startswith("Traceback")
    assert traceback.rstrip().endswith("end")


def test_input_that_does_not_fit(children: Make) -> None:
    """Data that does not fit its parameters fails as input, with a pointer for each misfit."""
    failure = children("@function\ndef run(width: int, name: str): pass").call("run", {"width": "wide"}).failure
    assert failure.kind == "input"
    assert [error["pointer"] for error in failure.errors] == ["/width", "/name"]


def test_function_that_the_folder_does_not_declare(children: Make) -> None:
    """A call for an unknown function names it and what there is."""
    failure = children("@function\ndef here(): pass").call("there").failure
    assert failure.kind == "start"
    assert "'there'" in failure.message
    assert "here" in failure.message


def test_what_a_handler_is_told(children: Make) -> None:
    """The event, the raw body and every fact of the context arrive as the call gives them."""
    sample = children(
        """
        @function
        def tell(image: bytes, size: int, *, event: Event, ctx: Context):
            return [len(image), size, event.source, ctx.id, ctx.attempt, ctx.idempotency_key, ctx.trace, ctx.function,
                    str(ctx.state_dir), 15 < (ctx.deadline - __import__("datetime").datetime.now(ctx.deadline.tzinfo)).seconds]
        """
    )
    told = sample.result("tell", {"size": 3}, blob=b"\xff" * 500_000, attempt=4, trace={"traceparent": "00-1"})
    state = str(sample.state_dir.resolve())
    assert told == [500_000, 3, "/test", "invocation-1", 4, "key-1", {"traceparent": "00-1"}, "tell", state, True]


def test_follow_ups_leave_only_with_a_result(children: Make) -> None:
    """What a handler emits and invokes comes with its result, in order, and is dropped when it fails."""
    sample = children(
        """
        @function
        def run(fail: bool = False, *, ctx: Context):
            ctx.emit("image.done", {"width": 1})
            ctx.invoke("next", [1], delay="2s")
            if fail:
                raise ValueError
            return b"raw"
        """
    )
    assert sample.call("run").follow_ups == [
        {"kind": "emit", "type": "image.done", "data": {"width": 1}},
        {"kind": "invoke", "function": "next", "data": [1], "delay_s": 2.0},
    ]
    assert sample.call("run", {"fail": True}).follow_ups == []


def test_follow_up_that_has_no_json_form(children: Make) -> None:
    """An emit that cannot be written fails, naming the value."""
    failure = children("@function\ndef run(*, ctx: Context): ctx.emit('a.b', {'x': {object()}})").call("run").failure
    assert failure.kind == "result"
    assert "ctx.emit['data']['x']" in failure.message


def test_follow_ups_beyond_their_bounds(children: Make) -> None:
    """What could not be written in one step fails the attempt, and says what to do instead."""
    sample = children(
        """
        @function
        def run(size: int, count: int, *, ctx: Context) -> int:
            for _ in range(count):
                ctx.emit("a.b", "x" * size)
            return count
        """
    )
    assert len(sample.call("run", {"size": 1, "count": 10_000}).follow_ups) == 10_000
    for size, count, words in ((1, 10_001, "more than 10,000 times"), (4_000_000, 3, "return what is large as the result")):
        failure = sample.call("run", {"size": size, "count": count}).failure
        assert failure is not None
        assert failure.kind == "result"
        assert words in failure.message


def test_async_handlers_share_one_loop(children: Make) -> None:
    """Async handlers run on one event loop for the child's life, so that connections can be kept."""
    sample = children(
        """
        import asyncio
        @function
        async def loop():
            await asyncio.sleep(0)
            return id(asyncio.get_running_loop())
        """
    )
    assert sample.result("loop") == sample.result("loop")


def test_output_of_every_source(children: Make) -> None:
    """Prints, C-level writes, subprocesses, logging and warnings are captured, each stream in its order."""
    sample = children(
        """
        import ctypes, logging, os, subprocess, sys, warnings
        @function
        def talk(*, ctx: Context):
            print("one")
            ctypes.CDLL(None).puts(b"from C")
            ctypes.CDLL(None).fflush(None)
            subprocess.run(["echo", "from echo"])
            os.write(2, b"raw\\n")
            print("wrong", file=sys.stderr)
            ctx.log.info("hello %s", "you")
            logging.getLogger("lib").debug("too fine")
            try:
                1 / 0
            except ZeroDivisionError:
                logging.getLogger("lib").exception("failed")
            warnings.warn("old way")
            ctypes.CDLL(None).puts(b"buffered in C")
            print("no newline", end="")
        """
    )
    assert sample.result("talk") is None
    assert sorted(sample.lines("stdout")) == sorted(["one", "from C", "from echo", "no newlinebuffered in C"])
    assert sample.lines("stderr") == ["raw", "wrong"]
    records = [(f["level"], f["logger"], f["line"]) for f in sample.output if f.get("stream") == "log"]
    assert records[0] == ("INFO", "talk", "hello you")
    assert records[1][:2] == ("ERROR", "lib")
    assert records[1][2].startswith("failed\nTraceback")
    assert records[1][2].endswith("ZeroDivisionError: division by zero")
    assert records[2][:2] == ("WARNING", "py.warnings")
    assert len(records) == 3


def test_output_arrives_while_the_handler_runs(children: Make) -> None:
    """Lines and progress are handed on during the call, not after it."""
    sample = children(
        """
        import os, time
        @function
        def wait(path: str, *, ctx: Context):
            print("started")
            ctx.progress(0.5, "half")
            while not os.path.exists(path): time.sleep(0.005)
        """
    )
    flag = sample.folder.parent / "flag"
    seen: list[dict[str, Any]] = []

    def on_output(batch: list[dict[str, Any]]) -> None:
        seen.extend(batch)
        if len(seen) == 2:
            flag.touch()

    assert sample.call("wait", {"path": str(flag)}, on_output=on_output).failure is None
    assert seen[0]["line"] == "started"
    assert seen[1] == {"kind": "progress", "fraction": 0.5, "note": "half"}


@pytest.mark.parametrize("statement", ["print('x' * 50)", "ctx.log.info('x' * 50)", "sys.stdout.write('x' * 5000)"])
def test_handler_that_prints_for_ever(children: Make, statement: str) -> None:
    """Endless output is cut and counted; the timeout still comes, and neither side stalls."""
    sample = children(f"import sys\n@function\ndef run(*, ctx: Context):\n    while True: {statement}")
    ending = sample.call("run", timeout_s=0.5)
    assert ending.failure.kind == "timeout"
    assert ending.duration_s < 3
    lines = [frame["line"] for frame in sample.output]
    assert 1 <= len(lines) <= 1001
    assert sum(map(len, lines)) <= 272 * 1024
    assert max(map(len, lines)) <= 8 * 1024


def test_lines_beyond_the_bound_are_counted(children: Make) -> None:
    """The last line says how many lines are missing."""
    sample = children("@function\ndef run():\n    for i in range(5000): print(i)")
    assert sample.result("run") is None
    assert sample.lines("stdout") == [str(i) for i in range(1000)]
    assert sample.lines("stderr") == ["… 4,000 more lines dropped"]


def test_many_progress_reports(children: Make) -> None:
    """Of many reports in a row the newest arrives; the others cost no memory."""
    sample = children("@function\ndef run(*, ctx: Context):\n    for i in range(20_000): ctx.progress(i / 20_000)")
    assert sample.result("run") is None
    assert sample.output[-1]["fraction"] == 19_999 / 20_000
    assert len(sample.output) < 200


def test_output_between_two_calls(children: Make, eventually: Callable[..., None]) -> None:
    """What a thread prints after its call has ended is not taken for output of the next call."""
    sample = children(
        """
        import os, threading, time
        @function
        def start(path: str):
            def late():
                while not os.path.exists(path): time.sleep(0.005)
                print("late")
                os.rename(path, path + ".done")
            threading.Thread(target=late, daemon=True).start()
        @function
        def next(): print("mine")
        """
    )
    flag = sample.folder.parent / "flag"
    sample.call("start", {"path": str(flag)})
    flag.touch()
    eventually(lambda: flag.with_name("flag.done").exists())
    sample.call("next")
    assert sample.lines("stdout") == ["mine"]


def test_scrubbed_environment_and_declared_secrets(children: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child sees neither the worker's environment nor its secrets, but for those the call declares."""
    monkeypatch.setenv("ONCUE_SECRET_TOKEN", "hidden")
    sample = children(
        """
        import os, tempfile, pathlib
        @function
        def look(*, ctx: Context):
            return {"names": sorted(os.environ), "token": ctx.secret("TOKEN", None), "other": ctx.secret("OTHER", None),
                    "cwd": os.getcwd(), "temp": tempfile.gettempdir(), "home": str(pathlib.Path.home())}
        """,
        secret={"TOKEN": "hush", "OTHER": "not declared"}.get,
    )
    seen = sample.result("look", secrets=("TOKEN", "ABSENT"))
    assert (seen["token"], seen["other"]) == ("hush", None)
    assert set(seen["names"]) <= {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE"}
    assert seen["cwd"] == str(sample.folder.resolve())
    assert seen["home"] == str(sample.state_dir.resolve())
    assert "oncue-child-" in seen["temp"]
    assert sample.result("look")["token"] is None
