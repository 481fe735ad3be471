"""Deploys what is in the functions folder, and says what is served: one JSON line on stdout.

{"kind": "catalog", "folders": {"thumbnail": {"version": "5c1…", "functions": [{manifest}, …]}},
 "problems": [{"folder": "broken", "file": "__init__.py", "line": 3, "reason": "…"}]}

It runs as a short-lived process of its own: what it needs is given back, and the supervisor stays small and prompt.
"""

from __future__ import annotations

import sys

import msgspec
from redis.exceptions import RedisError

from infra.settings import Settings
from runtime.authoring.errors import OnCueError
from runtime.versions.deployer import Deployer, Versions
from runtime.versions.registry import Registry


class DeployingError(OnCueError):
    """Nothing can be deployed now."""


def main(settings: Settings) -> None:
    """Deploy every changed folder, drop the vanished ones, and print the catalog.

    Raises:
        DeployingError: Redis does not take it.
    """
    registry = Registry(settings.ledger_url)
    try:
        Deployer(registry, Versions(settings.data)).sync(settings.functions)
        catalog = registry.catalog()
    except RedisError as error:
        raise DeployingError(f"the functions cannot be deployed, since Redis does not take them: {error}") from error
    finally:
        registry.close()
    folders = {
        name: {"version": deployed.version, "functions": [f.model_dump(mode="json") for f in deployed.manifest.functions]}
        for name, deployed in catalog.folders.items()
    }
    problems = [problem.model_dump(mode="json") for problem in catalog.problems]
    document = {"kind": "catalog", "folders": folders, "problems": problems}
    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
    sys.stdout.flush()
