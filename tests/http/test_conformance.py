"""schemathesis against a whole OnCue: the four functions, a function of the edge's own, and routes of several senders."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running import OnCue, make_function, start

FUNCTIONS = Path(__file__).parents[2] / "functions"

HOOKED = """
from runtime import Hmac, function, http

@http("POST /in/github", verify="github", secret="S", when={"action": "opened"})
@http("POST /in/stripe", verify="stripe", secret="S")
@http("POST /in/slack", verify="slack", secret="S")
@http("POST /in/twilio", verify="twilio", secret="S")
@http("POST /in/standard", verify="standard_webhooks", secret="STANDARD")
@http("POST /in/basic", verify="basic", secret="BASIC")
@http("POST /in/hmac", verify=Hmac(header="X-Sig"), secret="S")
@http("POST /in/sns", verify="sns", topics=["arn:aws:sns:us-east-1:123456789012:orders"])
@http("POST /in/events", verify="cloudevents")
@http("PUT /shops/{shop}/orders/{number}")
@http("GET /shops/{shop}", respond="result")
def hooked(shop: str = "", number: int = 0, note: str | None = None) -> str:
    "Take what comes."
    return f"{shop} {number} {note}"

@function(retries=0)
def fails(word: str) -> str:
    "Fail."
    raise ValueError(word)
"""

#: What the command cannot do by itself: make the archive of a folder, and not wait for a stream whose invocation is tried again
#: in half a minute.
HOOKS = """
import httpx
import schemathesis

@schemathesis.hook
def before_call(context, case, kwargs):
    if case.operation.path.endswith("/events"):
        httpx.post(case.operation.base_url + case.formatted_path.removesuffix("/events") + "/cancel")

schemathesis.serializer("application/zip")(lambda context, value: value if isinstance(value, bytes) else b"PK" + repr(value).encode())
"""
#: 502 tells of a failed function; the document says where.
CONFIGURATION = """
[phases.stateful]
max-steps = 4
generation.max-examples = 30

[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "502"]
"""
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
#: The last one knows what it can go on with only when it is alone.
PHASES = (("examples", "coverage", "fuzzing"), ("stateful",))


@pytest.fixture
def oncue(tmp_path: Path) -> Iterator[OnCue]:
    """`oncue up` over all of them."""
    functions = shutil.copytree(FUNCTIONS, tmp_path / "functions", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    make_function(functions, "hooked", HOOKED)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    secrets = {"S": "s3cret", "STANDARD": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "BASIC": "user:password"}
    own = {f"ONCUE_SECRET_{name}": value for name, value in secrets.items()}
    oncue = start({**kept, **own, "ONCUE_PORT": "0", "ONCUE_PUBLIC_URL": "https://hooks.example.org"}, tmp_path)
    yield oncue
    assert oncue.up.stop() == 0


def with_declared_routes(document: dict[str, Any]) -> dict[str, Any]:
    """Move the webhooks among the paths, where they are served: the command calls nothing else."""
    for webhook in document.pop("webhooks").values():
        for method, operation in webhook.items():
            path = operation["x-oncue-path"]
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                for name in re.findall(r"{(\w+)}", path)
            ]
            document["paths"].setdefault(path, {})[method] = operation
    return document


def run(folder: Path, *words: str) -> str:
    """Run schemathesis over `openapi.json` in a folder; return what it says once it has found nothing."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", "openapi.json"),
        *("--checks", ",".join(CHECKS), "--max-examples", "4", "--seed", "1", "--no-shrink", "--continue-on-failure"),
        *("--request-timeout", "20", "--suppress-health-check", "all", "--warnings", "off"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(folder)}
    ran = subprocess.run(
        [*command, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.mark.timeout(180)
def test_edge_does_what_its_document_says(oncue: OnCue, tmp_path: Path) -> None:
    """In every operation and phase: no 5xx but a failed function, no status, media type or document that is not described."""
    document = with_declared_routes(httpx.get(f"{oncue.url}/openapi.json").json())
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "hooks.py").write_text(HOOKS)
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    for phases in PHASES:
        said = run(tmp_path, "--url", oncue.url, "--phases", ",".join(phases))
        for phase in phases:
            assert re.search(rf"✅ +{phase.capitalize()}", said), said
        count = sum(len(methods) for methods in document["paths"].values())
        assert "stateful" in phases or re.search(rf"Tested: +{count}\b", said), said
    assert httpx.get(f"{oncue.url}/readyz").status_code == 200
    assert not oncue.up.has("a request failed"), oncue.up.lines
