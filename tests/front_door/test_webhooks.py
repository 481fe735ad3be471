"""docs/webhooks.md, run as it stands; and the commands that operate invocations."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from runtime.authoring.routes import SCHEMES
from tests.running import ONCUE, OnCue, make_function, start

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
SECRET = "It's a Secret to Everybody"

SAMPLES = """
from runtime import GiveUp, function, on

@function
@on("paper.*", when={"size": "A4"})
def prints(size: str = "A4") -> str:
    return size

@function
def fails(word: str = "x") -> None:
    raise GiveUp("the paper is out")
"""


def blocks(language: str) -> list[str]:
    """The code blocks of the page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def oncue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCue]:
    """`oncue up` over the page's function and some samples."""
    folder = tmp_path_factory.mktemp("webhooks")
    make_function(folder / "functions", "triage", blocks("python")[0])
    make_function(folder / "functions", "samples", SAMPLES)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    oncue = start({**kept, "ONCUE_PORT": "0", "ONCUE_SECRET_GITHUB_WEBHOOK": SECRET}, folder)
    yield oncue
    assert oncue.up.stop() == 0


def shell(oncue: OnCue, script: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a block of the page against this OnCue."""
    environment = {**oncue.environment, "ONCUE_URL": oncue.url, "PATH": f"{Path(ONCUE).parent}:{os.environ['PATH']}", **more}
    return subprocess.run(
        ["bash", "-u", "-c", script.replace("http://127.0.0.1:8080", oncue.url)],
        cwd=oncue.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def documents(text: str) -> list[Any]:
    """The JSON documents of an output, whatever stands between them."""
    found, decoder, at = [], json.JSONDecoder(), 0
    while (start := text.find("{", at)) >= 0:
        document, at = decoder.raw_decode(text, start)
        found.append(document)
    return found


def test_worked_webhook_of_github(oncue: OnCue) -> None:
    """The page's commands give the page's answers: accepted, done, a repeat, and a refusal explained."""
    deliver, result, explain = blocks("bash")[:3]
    (accepted,) = documents(shell(oncue, deliver).stdout)
    assert (accepted["status"], "duplicate" in accepted) == ("queued", False)
    (done,) = documents(shell(oncue, "oncue get $ID --wait >/dev/null; " + result, ID=accepted["id"]).stdout)
    assert done == json.loads(blocks("json")[1])
    (again,) = documents(shell(oncue, deliver).stdout)
    assert (again["id"], again["duplicate"]) == (accepted["id"], True)
    (closed,) = documents(shell(oncue, deliver.replace('"action": "opened"', '"action": "closed"')).stdout)
    assert closed == {"ignored": True}
    (changed,) = documents(shell(oncue, deliver.replace("curl -s", "echo >> opened.json; curl -s")).stdout)
    assert (changed["status"], changed["code"]) == (401, "signature-invalid")
    explained = shell(oncue, explain)
    assert (explained.returncode, explained.stdout) == (1, blocks("text")[0])


def test_every_other_command_of_the_page(oncue: OnCue) -> None:
    """Each answers without a problem."""
    (accepted,) = documents(shell(oncue, blocks("bash")[3]).stdout)
    for script in blocks("bash")[4:]:
        identity = accepted["id"]
        if "delay=" in script:
            (later,) = documents(shell(oncue, script.splitlines()[0] + "\n" + script.splitlines()[1]).stdout)
            assert later["status"] == "scheduled"
            identity, script = later["id"], script.splitlines()[-1]
        answer = shell(oncue, script, ID=identity)
        assert (answer.returncode, answer.stderr) == (0, ""), script
        assert answer.stdout
        assert "urn:oncue:problem" not in answer.stdout, (script, answer.stdout)


def test_schemes_of_the_page() -> None:
    """The table tells every scheme that a route can ask for."""
    assert set(re.findall(r'^\| `"(\w+)"` \|', PAGE, re.MULTILINE)) == set(SCHEMES)


def test_event_sent_by_the_command_line(oncue: OnCue) -> None:
    """`oncue send` says who takes the event; a repeat under one id is told."""
    sent = oncue.json("send", "paper.in", "size=A4", "--id", "p-1", "--source", "/tray")
    assert isinstance(sent, dict)
    assert sent["events"][0]["subscribers"] == ["prints"]
    again = oncue.run("send", "paper.in", "size=A4", "--id", "p-1", "--source", "/tray")
    assert re.search(r"^duplicate +True$", again.stdout, re.MULTILINE)
    assert re.search(r"^subscribers +nobody$", oncue.run("send", "paper.in", "size=A5").stdout, re.MULTILINE)
    refused = oncue.run("send", "paper.in", "--source", "not a uri")
    assert refused.returncode == 2
    assert "/source: is no URI" in refused.stderr


def test_dead_letters_by_the_command_line(oncue: OnCue) -> None:
    """What failed is listed by cause, replayed and dropped; nothing is done to all without saying so."""
    identities = [
        httpx.post(f"{oncue.url}/v1/functions/fails", json={}, headers={"prefer": "wait=10"}).json()["invocation"]
        for _ in range(2)
    ]
    listed = oncue.json("dead", "ls", "--function", "fails")
    assert isinstance(listed, dict)
    assert (listed["count"], listed["groups"][0]["count"], listed["groups"][0]["message"][:16]) == (2, 2, "the paper is out")
    assert re.search(r"^2 +fails .* GiveUp: the paper is out ", oncue.run("dead", "ls").stdout, re.MULTILINE)
    for words in (("dead", "drop"), ("dead", "replay"), ("dead", "drop", identities[0], "--function", "fails")):
        assert oncue.run(*words).returncode == 2
    assert "2 are meant" in oncue.run("dead", "replay", "--type", "GiveUp", "--dry-run").stdout
    replayed = oncue.run("replay", identities[0])
    assert (replayed.returncode, identities[0] in replayed.stdout) == (0, True)
    assert oncue.run("dead", "drop", identities[1]).returncode == 0
    assert oncue.run("get", identities[1]).returncode == 2
    again = oncue.json("replay", identities[0])
    assert isinstance(again, dict)
    oncue.run("get", again["id"], "--wait")
    assert oncue.json("dead", "drop", "--all") == {"dropped": 1}


def test_cancel_by_the_command_line(oncue: OnCue) -> None:
    """A scheduled invocation is cancelled; what is over is refused."""
    identity = httpx.post(f"{oncue.url}/v1/functions/prints?delay=1h", json={}).json()["id"]
    assert re.search(r"^status +cancelled$", oncue.run("cancel", identity).stdout, re.MULTILINE)
    refused = oncue.run("cancel", identity)
    assert (refused.returncode, "cancelled" in refused.stderr) == (2, True)


def test_invocation_over_a_websocket(oncue: OnCue) -> None:
    """The web process serves the frames of an invocation at `…/live`, to its end."""
    identity = httpx.post(f"{oncue.url}/v1/functions/prints", json={}).json()["id"]
    with connect(f"{oncue.url.replace('http', 'ws')}/v1/invocations/{identity}/live") as connection:
        frames = [json.loads(message) for message in connection]
    assert (frames[-1]["id"], frames[-1]["data"]["status"]) == ("end", "succeeded")


def test_refused_request_is_explained(oncue: OnCue, tmp_path: Path) -> None:
    """Missing headers, other schemes and unreadable files are told; no secret and no expected signature is printed."""
    request = {"path": "/hooks/github", "headers": {"Stripe-Signature": "t=1,v1=00"}, "body": "{}"}
    (tmp_path / "r.json").write_text(json.dumps(request))
    found = oncue.run("verify", "triage", f"@{tmp_path}/r.json", "--json")
    document = json.loads(found.stdout)
    assert (found.returncode, document["code"]) == (1, "signature-missing")
    assert any("verify=stripe" in hint for hint in document["hints"])
    assert SECRET not in found.stdout + found.stderr
    (tmp_path / "r.json").write_text('{"body": "x"}')
    for words in (
        ["verify", "triage", f"@{tmp_path}/r.json"],
        ["verify", "triage", "@gone"],
        ["verify", "fails", f"@{tmp_path}/r.json"],
    ):
        assert oncue.run(*words).returncode == 2


def test_audit_and_document_by_command(oncue: OnCue) -> None:
    """Who was refused is listed without what was sent; the document is printed, or written to a file."""
    headers = {"X-Request-Id": "unsigned-one", "Content-Type": "application/json"}
    assert httpx.post(f"{oncue.url}/hooks/github?q=hunter2", json={"p": "hunter2"}, headers=headers).status_code == 401
    found: Any = {}
    for _ in range(100):  # it is written a moment later
        found = oncue.json("audit", "--limit", "50")
        if "unsigned-one" in str(found):
            break
    (entry,) = [each for each in found["entries"] if each["request_id"] == "unsigned-one"]
    assert (entry["route"], entry["status"], entry["decision"]) == ("/hooks/github", 401, "refused")
    table = oncue.run("audit").stdout
    assert "unsigned-one" in table
    assert "hunter2" not in table + str(found)
    assert oncue.run("openapi", "-o", "api.json").returncode == 0
    document = json.loads((oncue.folder / "api.json").read_text())
    assert document == json.loads(oncue.run("openapi").stdout)
    assert "/v1/functions/triage" in document["paths"]
