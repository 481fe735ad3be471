"""Deploying through the front door: the command line and HTTP against a running OnCue, under load and without."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.versions.archive import write_archive
from runtime.versions.pack import Pack
from tests.running import OnCue, start
from tests.versions.deploying import greeting


@pytest.fixture(scope="module")
def oncue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCue]:
    """A running OnCue with an empty functions folder."""
    folder = tmp_path_factory.mktemp("front")
    (folder / "functions").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    oncue = start({**kept, "ONCUE_PORT": "0"}, folder)
    yield oncue
    assert oncue.up.stop() == 0


@pytest.fixture(autouse=True)
def empty(oncue: OnCue) -> Iterator[None]:
    """Undeploy what the test has deployed."""
    yield
    for each in httpx.get(f"{oncue.url}/v1/deployments").json()["deployments"]:
        httpx.delete(f"{oncue.url}/v1/deployments/{each['folder']}").raise_for_status()


def folder_of(oncue: OnCue, name: str, source: str) -> Path:
    folder = oncue.folder / "mine" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text(source)
    return folder


def send(oncue: OnCue, source: str, folder: str = "hello", **query: str) -> httpx.Response:
    body = write_archive(Pack(folder, (("__init__.py", source.encode()),)))
    headers = {"Content-Type": "application/zip"}
    return httpx.post(
        f"{oncue.url}/v1/deployments", content=body, params={"folder": folder, **query}, headers=headers, timeout=30
    )


def greet(oncue: OnCue, function: str = "greet", **data: object) -> str:
    answer = httpx.post(f"{oncue.url}/v1/functions/{function}", json=data, headers={"Prefer": "wait=20"}, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json())


def test_a_folder_from_deploy_to_undeploy(oncue: OnCue) -> None:
    """By command line: plan, deploy, call, versions, diff, rollback, undeploy; each says what it did."""
    folder = folder_of(oncue, "hello", greeting("one", more="@cron('0 9 * * *')\ndef tick() -> None: ..."))
    planned = oncue.run("deploy", str(folder), "--plan")
    assert "+ function greet" in planned.stdout
    assert "+ trigger  tick: cron 0 9 * * * UTC" in planned.stdout
    assert "tick: At 09:00 every day; next " in planned.stdout
    assert "nothing was changed (--plan)" in planned.stdout
    assert oncue.json("versions") == {"deployments": [], "quarantined": []}
    deployed = oncue.run("deploy", str(folder))
    assert deployed.returncode == 0
    assert [line.split()[:2] for line in deployed.stderr.splitlines()] == [
        ["✓", step] for step in ("pack", "install", "inspect", "store", "warm", "switch")
    ]
    assert greet(oncue) == "one"
    assert "it is served already" in oncue.run("deploy", str(folder)).stdout
    folder_of(oncue, "hello", greeting("two"))
    report = oncue.json("deploy", str(folder))
    assert isinstance(report, dict)
    assert [(f["name"], f["change"]) for f in report["plan"]["functions"]] == [("tick", "removed")]
    assert greet(oncue) == "two"
    listed = oncue.json("versions", "hello")
    assert isinstance(listed, dict)
    new, old = (version["version"] for version in listed["versions"])
    assert [version["is_live"] for version in listed["versions"]] == [True, False]
    assert [version["health"]["succeeded"] for version in listed["versions"]] == [1, 1]
    assert listed["versions"][0]["success_rate"] == 1.0
    difference = oncue.run("diff", "hello", old[:8], new[:8]).stdout
    assert "-    return 'one'\n" in difference
    assert "+    return 'two'\n" in difference
    assert "− function tick" in difference
    assert f"serves      {old}" in oncue.run("rollback", "hello").stdout
    assert greet(oncue) == "one"
    assert "hello is no longer served" in oncue.run("undeploy", "hello").stdout
    assert httpx.post(f"{oncue.url}/v1/functions/greet", json={}).status_code == 404
    refused = oncue.run("rollback", "hello", "zzzz")
    assert (refused.returncode, "it has no version 'zzzz'" in refused.stderr) == (2, True)


def test_deploying_every_folder_of_a_folder(oncue: OnCue) -> None:
    """One that is broken stops no other, and makes the command fail."""
    root = folder_of(oncue, "all/first", greeting("one")).parent
    folder_of(oncue, "all/broken", "def x(:\n")
    answer = oncue.run("deploy", "--all", str(root))
    assert answer.returncode == 1
    assert oncue.run("deploy", str(root / "first" / "..")).stderr.endswith(
        "no function is declared in all/; decorate a handler with @function, @http, @cron, @on or @queue; nothing has changed\n"
    )
    assert "broken/__init__.py:1: SyntaxError: invalid syntax; nothing has changed" in answer.stderr
    assert greet(oncue) == "one"


def test_the_commit_is_recorded(oncue: OnCue) -> None:
    """Where the folder lies in a git repository: its commit, and whether the folder differs from it."""
    folder = folder_of(oncue, "hello", greeting("one"))

    def git(*words: str) -> str:
        identity = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
        return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    oncue.run("deploy", str(folder))
    folder_of(oncue, "hello", greeting("two"))
    oncue.run("deploy", str(folder))
    document: Any = oncue.json("versions", "hello")
    found = {version["version"]: (version["commit"], version["dirty"]) for version in document["versions"]}
    commit = git("rev-parse", "HEAD")
    assert list(found.values())[:2] == [(commit, True), (commit, False)]
    (folder / ".gitignore").write_text("__pycache__\nlocal.txt\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "two")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").touch()
    for text in ("", "ignored by git, and deployed"):
        if text:
            (folder / "local.txt").write_text(text)
        (folder / "event.json").write_text("{}")
        git("add", ".")
        git("commit", "--quiet", "--allow-empty", "--message", "three")
        oncue.run("deploy", str(folder))
        document = oncue.json("versions", "hello")
        newest = document["versions"][0]
        assert (newest["commit"], newest["dirty"]) == (git("rev-parse", "HEAD"), bool(text))


def test_over_http_the_plan_and_the_steps(oncue: OnCue) -> None:
    """200 for a plan and a no-op, 201 for a deploy, a stream of steps for who accepts one, a problem with its place."""
    planned = send(oncue, greeting("one"), plan="1")
    assert (planned.status_code, planned.json()["changed"]) == (200, False)
    assert httpx.get(f"{oncue.url}/v1/deployments").json()["deployments"] == []
    assert send(oncue, greeting("one")).status_code == 201
    assert send(oncue, greeting("one")).status_code == 200
    refused = send(oncue, "x = 1 / 0\n")
    assert refused.status_code == 400
    assert {name: refused.json()[name] for name in ("code", "folder", "file", "line", "reason")} == {
        "code": "broken-folder",
        "folder": "hello",
        "file": "__init__.py",
        "line": 1,
        "reason": "ZeroDivisionError: division by zero",
    }
    body = write_archive(Pack("hello", (("__init__.py", greeting("step by step").encode()),)))
    headers = {"Content-Type": "application/zip", "Accept": "application/x-ndjson"}
    answer = httpx.post(f"{oncue.url}/v1/deployments?folder=hello", content=body, headers=headers, timeout=30)
    lines = [json.loads(line) for line in io.StringIO(answer.text)]
    assert [line["step"] for line in lines[:-1]] == ["pack", "install", "inspect", "store", "warm", "switch"]
    assert lines[-1]["report"]["changed"] is True
    for path, method in (("nothing", "GET"), ("nothing", "DELETE"), ("nothing/rollback", "POST"), ("hello/promote", "POST")):
        assert httpx.request(method, f"{oncue.url}/v1/deployments/{path}").status_code == 404


def test_what_is_deployed_is_served_when_the_deploy_is_answered(oncue: OnCue) -> None:
    """The next request meets it, on a queue that nobody carried before, too; and after an undeploy it is gone."""
    took = []
    for n in range(3):
        source = f"from runtime import function\n@function(queue='fresh{n}')\ndef greet() -> str:\n    return 'fresh {n}'\n"
        assert send(oncue, source).status_code == 201
        began = time.monotonic()
        assert greet(oncue) == f"fresh {n}"
        took.append(time.monotonic() - began)
    # Looking for new queues once a second would take half of that at the median.
    assert sorted(took)[1] < 0.4
    httpx.delete(f"{oncue.url}/v1/deployments/hello").raise_for_status()
    assert httpx.post(f"{oncue.url}/v1/functions/greet", json={}).status_code == 404


def test_a_rollback_waits_for_no_deploy(oncue: OnCue) -> None:
    """Nor do promotions and removals: while another folder's import takes its time, they are answered."""
    for word in ("one", "two"):
        assert send(oncue, greeting(word)).is_success
    goes_on = oncue.folder / "goes on"
    slow = f"import os, time\nwhile not os.path.exists({str(goes_on)!r}): time.sleep(0.01)\n" + greeting("x").replace(
        "greet", "slow"
    )
    body = write_archive(Pack("slow", (("__init__.py", slow.encode()),)))
    headers = {"Content-Type": "application/zip", "Accept": "application/x-ndjson"}
    with httpx.stream("POST", f"{oncue.url}/v1/deployments?folder=slow", content=body, headers=headers, timeout=60) as answer:
        lines = answer.iter_lines()
        while json.loads(next(lines)) != {"step": "inspect"}:
            pass
        rolled_back = httpx.post(f"{oncue.url}/v1/deployments/hello/rollback", timeout=60)
        assert (rolled_back.status_code, greet(oncue)) == (200, "one")
        goes_on.touch()
        *_, last = lines
    assert "report" in json.loads(last), last


def test_deployments_are_described(oncue: OnCue) -> None:
    """Every route below /v1/deployments is in the OpenAPI document."""
    paths = httpx.get(f"{oncue.url}/openapi.json").json()["paths"]
    own = "/v1/deployments/{folder}"
    described = {path: sorted(methods) for path, methods in paths.items() if path.startswith("/v1/deployments")}
    assert described == {
        "/v1/deployments": ["get", "post"],
        own: ["delete", "get"],
        f"{own}/diff": ["get"],
        f"{own}/promote": ["post"],
        f"{own}/rollback": ["post"],
    }


def test_a_share_of_new_invocations(oncue: OnCue) -> None:
    """By command line: --percent, sticky by idempotency key, promoted or rolled back; success rates by version."""
    oncue.run("deploy", str(folder_of(oncue, "hello", greeting("one"))))
    oncue.run("deploy", str(folder_of(oncue, "hello", greeting("two"))), "--percent", "30")
    words = {}
    for n in range(40):
        headers = {"Prefer": "wait=20", "Idempotency-Key": f"key-{n}"}
        words[n] = httpx.post(f"{oncue.url}/v1/functions/greet", json={}, headers=headers, timeout=30).json()
    assert set(words.values()) == {"one", "two"}
    listed: Any = oncue.json("versions", "hello")
    by_percent = {
        version["percent"]: version["health"]["succeeded"]
        for version in listed["versions"]
        if version["is_live"] or version["percent"]
    }
    assert by_percent[30] >= list(words.values()).count("two") > 0
    assert "candidate" in oncue.run("promote", "hello", "--percent", "60").stdout
    oncue.run("rollback", "hello")
    assert {greet(oncue) for _ in range(8)} == {"one"}
