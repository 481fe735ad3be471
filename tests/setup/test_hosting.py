"""What is deployed by: the image, compose, Kubernetes and systemd files name what there is, and agree with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from infra.cli.app import app
from infra.settings import CONNECTION_PREFIX, SECRET_PREFIX, Settings, variable
from runtime.authoring.quantities import seconds

ROOT = Path(__file__).parents[2]
HOSTING = ROOT / "infra" / "hosting"
FILES = sorted(path for path in HOSTING.rglob("*") if path.is_file())
UNITS = sorted((HOSTING / "systemd").glob("*.service"))
DOCKERFILE = (HOSTING / "Dockerfile").read_text()
SERVICES: dict[str, Any] = yaml.safe_load((HOSTING / "compose.yaml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "oncue"}


def deployments() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in yaml.safe_load_all((HOSTING / "kubernetes.yaml").read_text()):
        if document["kind"] == "Deployment":
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]


def options(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_settings_that_are_named(file: Path) -> None:
    """Every ONCUE_ name is a setting, or begins as secrets and connections do."""
    known = {variable(name) for name in Settings.model_fields}
    for name in re.findall(r"ONCUE_[A-Z_]+", file.read_text()):
        assert name in known or name.startswith((SECRET_PREFIX, CONNECTION_PREFIX)), name


def test_commands_that_are_run() -> None:
    """Every process that a file starts is a command of `oncue`."""
    commands = typer.main.get_command(app).commands.keys()  # type: ignore[attr-defined]  # a Typer is a click group
    started = [command for service in OURS.values() for command in service["command"]]
    started += [command for _, pod in deployments() for command in pod["containers"][0]["args"]]
    started += [options(unit, "ExecStart")[0].split()[1] for unit in UNITS]
    assert {"up", "web", "worker", "triggers"} == set(started) <= commands


def test_what_the_image_is_made_of() -> None:
    """What is copied exists and is let through to the builder; uv is the version that ./just installs."""
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)]
    let_through = {line[1:] for line in (HOSTING / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists()
        assert source in let_through
    (pinned,) = re.findall(r"^UV=(\S+)$", (ROOT / "just").read_text(), re.MULTILINE)
    assert f"uv=={pinned}" in DOCKERFILE
    # Without it no folder with requirements of its own can be deployed to a container.
    assert re.search(r"^COPY --from=build \S+/uv /srv/oncue/bin/uv$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"--from=(\w+)", DOCKERFILE)) == set(re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE))


def test_time_to_stop() -> None:
    """Whoever stops a process waits longer than its grace, so that what runs may finish."""
    worker = OURS["worker"]
    assert seconds(worker["stop_grace_period"]) > seconds(worker["environment"]["ONCUE_GRACE"])
    grace_s = max(seconds(value) for value in re.findall(r"ONCUE_GRACE: (\d\S+)", (HOSTING / "kubernetes.yaml").read_text()))
    pods = dict(deployments())
    assert pods["oncue-worker"]["terminationGracePeriodSeconds"] > grace_s
    for unit in (HOSTING / "systemd" / "oncue.service", HOSTING / "systemd" / "oncue-worker@.service"):
        (grace,) = (line.partition("=")[2] for line in options(unit, "Environment") if line.startswith("ONCUE_GRACE"))
        assert float(options(unit, "TimeoutStopSec")[0]) > seconds(grace)


@pytest.mark.parametrize("pod", [pod for _, pod in deployments()])
def test_pods(pod: dict[str, Any]) -> None:
    """No pod gets the variables of a service named oncue, runs as root, or lacks a volume that it mounts."""
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert f"--uid {pod['securityContext']['runAsUser']} " in DOCKERFILE


def test_the_server_of_compose() -> None:
    """Its Redis is one that a 202 may rely on."""
    words = SERVICES["redis"]["command"]
    said = dict(zip(words[1::2], words[2::2], strict=True))
    assert (said["--appendonly"], said["--appendfsync"], said["--maxmemory-policy"]) == ("yes", "always", "noeviction")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_units(tmp_path: Path) -> None:
    """systemd finds nothing to say against the units."""
    for unit in UNITS:
        text = unit.read_text().replace("/srv/oncue/.venv/bin/oncue", sys.executable)
        (tmp_path / unit.name).write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
