"""The supervisor over stand-in programs that behave as no web or worker of ours does."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.running import Running, are_gone, make_function

Supervise = Callable[..., Running]
Eventually = Callable[..., object]

#: Ends at SIGTERM, and says so.
GOOD = (
    "import signal, sys, time\n"
    "def end(*_): print('{name} stops', flush=True); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end); print('{name} runs', flush=True)\n"
    "while True: time.sleep(60)"
)
#: Takes no notice of SIGTERM.
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('stubborn', flush=True)\nwhile True: time.sleep(60)"
#: Leaves a grandchild in a session of its own, then stays.
LITTERING = (
    "import os, subprocess, sys, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    p = subprocess.Popen(['sleep', '300'], start_new_session=True); print('left', p.pid, flush=True); os._exit(0)\n"
    "os.wait()\nprint('runs', flush=True)\nwhile True: time.sleep(60)"
)


def program(name: str, source: str = GOOD, grace_s: float = 5.0) -> tuple[str, str, float]:
    return name, source.replace("{name}", name), grace_s


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_stop(supervise: Supervise, eventually: Eventually, number: signal.Signals) -> None:
    """Every program is stopped, nothing is left running, and the exit code is 0."""
    running = supervise(program("worker 0"), program("worker 1"))
    eventually(lambda: running.has("worker 0 runs") and running.has("worker 1 runs") and running.has("serving"))
    pids = running.descendants()
    assert len(pids) == 3  # two workers and the embedded server
    assert running.stop(number) == 0
    assert are_gone(pids)
    assert running.has("worker 0 stops")
    assert running.has("worker 1 stops")


def test_a_killed_supervisor(supervise: Supervise, eventually: Eventually) -> None:
    """`kill -9` of the supervisor ends its processes, also one that ignores every other signal."""
    running = supervise(program("worker 0"), program("worker 1", STUBBORN))
    eventually(lambda: running.has("worker 0 runs") and running.has("stubborn"))
    pids = running.descendants()
    assert len(pids) == 3
    running.stop(signal.SIGKILL)
    eventually(lambda: are_gone(pids))


def test_a_crashing_program(supervise: Supervise, eventually: Eventually) -> None:
    """It is started again and again with growing pauses, while its neighbour runs on."""
    running = supervise(program("worker 0", "import sys; print('up and down', flush=True); sys.exit(7)"), program("worker 1"))
    eventually(lambda: sum("up and down" in line for line in running.lines) >= 4)
    pauses = [
        float(found[1]) for line in running.lines if (found := re.search(r"exit code 7\); starting it again in (\S+) s", line))
    ]
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert sum("worker 1 runs" in line for line in running.lines) == 1
    assert running.stop() == 0


def test_a_program_killed_by_a_signal(supervise: Supervise, eventually: Eventually) -> None:
    """The line names the signal, or gives the number of one that has no name."""
    running = supervise(*(program(f"worker {n}", f"import os; os.kill(os.getpid(), {n})") for n in (11, 40)))
    eventually(lambda: running.has("worker 11 ended (killed by SIGSEGV); starting it again"))
    eventually(lambda: running.has("worker 40 ended (killed by signal 40); starting it again"))
    assert running.stop() == 0


def test_a_program_that_does_not_stop(supervise: Supervise, eventually: Eventually) -> None:
    """A second signal ends everything at once; the exit code tells."""
    running = supervise(program("worker 0", STUBBORN, 60.0))
    eventually(lambda: running.has("stubborn") and running.has("serving"))
    pids = running.descendants()
    running.process.send_signal(signal.SIGINT)
    eventually(lambda: running.has("stopping"))
    assert running.stop(signal.SIGINT, within_s=5.0) == 130
    assert are_gone(pids)


def test_leftovers_of_a_program(supervise: Supervise, eventually: Eventually) -> None:
    """A grandchild in a session of its own, whose parent has gone, is ended while its neighbours run on."""
    running = supervise(program("worker 0", LITTERING), program("worker 1"))
    eventually(lambda: running.has("left "))
    left = next(int(line.split("left ")[1]) for line in running.lines if "left " in line)
    eventually(lambda: are_gone({left}))
    assert not running.has("starting it again")
    assert running.stop() == 0


def test_the_order_of_stopping(supervise: Supervise, eventually: Eventually, tmp_path: Path) -> None:
    """Workers stop first, while web and the server still answer."""
    web = (
        "import os, signal, sys, threading\n"
        "from http.server import BaseHTTPRequestHandler, HTTPServer\n"
        "class Ready(BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "    def log_message(self, *_): pass\n"
        "def end(*_): print('web stops', flush=True); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "HTTPServer(('127.0.0.1', int(os.environ['ONCUE_PORT'])), Ready).serve_forever()"
    )
    slow = (
        "import os, signal, sys, time, redis\n"
        "def end(*_):\n"
        "    time.sleep(0.3); redis.Redis.from_url(os.environ['ONCUE_REDIS_URL']).ping(); print('worker stops', flush=True); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('runs', flush=True)\nwhile True: time.sleep(60)"
    )
    running = supervise(program("web", web), program("worker 0", slow))
    eventually(lambda: running.has("serving") and running.has("runs"))
    assert running.stop() == 0
    ends = [line.split("│ ")[1] for line in running.lines if "stops" in line]
    assert ends == ["worker stops", "web stops"]


def test_a_killed_server(supervise: Supervise, eventually: Eventually, tmp_path: Path) -> None:
    """The embedded server comes back by itself, at the same place, and with its data."""
    running = supervise(program("worker 0"))
    eventually(lambda: running.has("worker 0 runs"))
    with redis.Redis.from_url(f"unix://{tmp_path}/data/redis/redis.sock") as connection:
        connection.set("a", "b")
        os.kill(connection.info("server")["process_id"], signal.SIGKILL)
        eventually(lambda: running.has("the embedded server ended (killed by SIGKILL)"))

        def answer() -> object:
            try:
                return connection.get("a")
            except redis.RedisError:
                return None

        assert eventually(answer) == b"b"
    assert running.stop() == 0


def test_a_terminal_that_stands_still(supervise: Supervise, eventually: Eventually, tmp_path: Path) -> None:
    """Output that nobody reads holds no program up, and no stop."""
    chatter = "for n in range(50_000): print(n, 'x' * 200)\nopen('done', 'w').close()\nimport time; time.sleep(60)"
    running = supervise(program("worker 0", chatter), read=False)
    eventually((tmp_path / "done").exists)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0
    running.read()


def test_a_port_that_is_taken(supervise: Supervise) -> None:
    """It is said in one sentence before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = supervise(program("worker 0"), ONCUE_PORT=str(port))
        assert running.wait() == 1
    assert running.lines == [
        f"127.0.0.1:{port} cannot be bound (Address already in use); stop what listens there, or set ONCUE_PORT"
    ]


def test_a_second_supervisor_on_one_data_folder(supervise: Supervise, eventually: Eventually) -> None:
    """It says who is there and ends; the first one is not disturbed."""
    first = supervise(program("worker 0"))
    eventually(lambda: first.has("worker 0 runs"))
    second = supervise(program("worker 0"))
    assert second.wait() == 1
    assert second.has(f"another OnCue (process {first.process.pid}) uses the data folder")
    assert first.stop() == 0
    assert not first.has("ended")


def test_an_address_of_another_machine(supervise: Supervise) -> None:
    """It has another cure than a port that is taken."""
    running = supervise(program("worker 0"), ONCUE_HOST="192.0.2.1")  # TEST-NET-1, RFC 5737
    assert running.wait() == 1
    assert running.lines[0].endswith("; set ONCUE_HOST to an address of this machine")


def test_a_data_folder_that_cannot_be_one(supervise: Supervise, tmp_path: Path) -> None:
    """One sentence names the folder, the reason and the cure."""
    (tmp_path / "data").write_text("a file")
    running = supervise(program("worker 0"))
    assert running.wait() == 1
    assert running.lines == [
        f"the data folder {tmp_path / 'data'} cannot be used (File exists); see that it can be written to, or set ONCUE_DATA"
    ]


def test_a_redis_that_is_not_there(supervise: Supervise) -> None:
    """A Redis of the user's that does not answer is told in a sentence, and nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    running = supervise(program("worker 0"), ONCUE_REDIS_URL=f"redis://:hidden@127.0.0.1:{port}/0")
    assert running.wait() == 1
    assert running.has("the functions cannot be deployed, since Redis does not take them")
    assert not running.has("Traceback")
    assert not running.has("hidden")
    assert not running.has("worker 0 runs")


def test_a_redis_of_the_users(
    supervise: Supervise, eventually: Eventually, redis_url: str, functions: Path, tmp_path: Path
) -> None:
    """It is used as it is: no embedded server is started, and none is stopped."""
    make_function(functions, "greet")
    running = supervise(program("worker 0"), ONCUE_REDIS_URL=redis_url)
    eventually(lambda: running.has("● greet"))
    assert running.stop() == 0
    assert not (tmp_path / "data" / "redis").exists()
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.hexists("oncue:folders", "greet")


def test_no_functions_yet(supervise: Supervise, eventually: Eventually) -> None:
    """An empty folder is served, with a word on how to begin."""
    running = supervise(program("worker 0"))
    eventually(lambda: running.has("make one: oncue new NAME"))
    assert running.stop() == 0


def test_what_is_served(supervise: Supervise, eventually: Eventually, functions: Path) -> None:
    """The start tells each function with its URLs, what is quarantined with its place, and what is missing."""
    make_function(functions, "greet")
    make_function(
        functions,
        "mail",
        "from runtime import cron, function, on\n"
        '@function(secrets=["API_KEY"], optional_secrets={"SMTP_URL": "mails are spooled to {state}"})\n'
        '@on("user.created")\n@cron("0 9 * * MON-FRI", timezone="Europe/Paris")\ndef mail(): ...\n',
    )
    make_function(functions, "broken", "import runtime\n\nx = 1 / 0\n")
    running = supervise(program("worker 0"))
    eventually(lambda: running.has("not served until this is mended"))
    for words in (
        "● greet  Say greet.",
        "/v1/functions/greet",
        "/hooks/greet",
        "on user.created",
        "cron 0 9 * * MON-FRI Europe/Paris",
        "set ONCUE_SECRET_API_KEY: it cannot work without",
        "without ONCUE_SECRET_SMTP_URL mails are spooled",
        "state/mail",
        "broken/__init__.py:3: ZeroDivisionError: division by zero",
    ):
        assert running.has(words), words
    assert running.stop() == 0


def test_sixty_functions_with_much_to_say(supervise: Supervise, eventually: Eventually, functions: Path) -> None:
    """However long the deployment's line of them gets, each is told."""
    function = '@function\ndef say_{n}(word: Literal["{schema}"]):\n    """{summary}"""\n'
    source = "".join(function.format(n=n, schema="s" * 4000, summary="d" * 3000) for n in range(60))
    make_function(functions, "many", f"from typing import Literal\nfrom runtime import function\n{source}")
    running = supervise(program("worker 0"))
    eventually(lambda: running.has("serving") and all(running.has(f"● say_{n} ") for n in range(60)))
    assert not running.has("s" * 4000)
    assert running.stop() == 0


def test_a_deployment_that_cannot_be_started(environment: dict[str, str]) -> None:
    """Where the host starts no process, one sentence says so, and what runs already is stopped in order."""
    script = (
        "from rich.console import Console\nfrom infra.feed import Feed\nfrom infra.processes import Program\nfrom infra.settings import Settings\n"
        "from infra.supervisor import Supervisor, SupervisorError\n"
        "supervisor = Supervisor(Settings.load(), Feed(Console()), [], deploying=Program('deploy', ['x' * 2**18], 0))\n"
        "try: supervisor.run()\nexcept SupervisorError as error: print(error, supervisor.server.process)"
    )
    answer = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert answer.stdout == "'deploy' cannot be started (Argument list too long); start OnCue again None\n", answer.stderr


def test_a_folder_that_changes(supervise: Supervise, eventually: Eventually, functions: Path) -> None:
    """A folder that is added, changed, broken or removed while it runs is told, each once."""
    make_function(functions, "first")
    running = supervise(program("worker 0"))
    eventually(lambda: running.has("● first"))
    make_function(functions, "second")
    eventually(lambda: running.has("● second"))
    (functions / "first" / "more.py").write_text("VALUE = 1\n")
    eventually(lambda: running.has("first is now at version"))
    make_function(functions, "second", "def nothing(: pass\n")
    eventually(lambda: running.has("its previous version goes on serving"))
    (functions / "second").rename(functions.parent / "elsewhere")
    eventually(lambda: running.has("second is no longer served"))
    assert sum("● second" in line for line in running.lines) == 1
    assert running.stop() == 0


def test_lines_that_are_too_long(supervise: Supervise, eventually: Eventually) -> None:
    """A program that prints a megabyte without a line break costs no memory, and its next line is whole."""
    running = supervise(
        program("worker 0", "print('y' * 2**20, flush=True)\nprint('next', flush=True)\nimport time; time.sleep(60)")
    )
    eventually(lambda: running.has("│ next"))
    assert max(map(len, running.lines)) < 150_000
    assert running.stop() == 0
