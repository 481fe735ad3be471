"""What the API says of deployments, as JSON documents. Everything here blocks: it asks Redis and reads files.

{"folder": "thumbnail", "version": "5c1…", "changed": true, "percent": null, "adopted": 0, "misfits": [],
 "plan": {"functions": [{"name": "thumbnail", "change": "added", …}], "triggers": […], "fires": […], …}}
"""

from __future__ import annotations

import time
from typing import Any

from runtime.authoring.manifest import Manifest
from runtime.authoring.triggers import CronTrigger
from runtime.versions.catalog import Deployed
from runtime.versions.collecting import count_work
from runtime.versions.deployer import Deployer, Report
from runtime.versions.plan import compare, document, functions_document, text_diff, triggers_document
from triggers.cron.words import in_words, next_fires
from triggers.http.documents import rfc3339

_OUTCOMES = ("succeeded", "retrying", "failed", "cancelled")


def report_document(report: Report) -> dict[str, Any]:
    """Return what a deploy did, or would do."""
    plan = report.plan
    return {
        "folder": plan.folder,
        "version": plan.version,
        "changed": report.changed,
        "percent": report.percent,
        "adopted": report.adopted,
        "misfits": [{"id": id, "reason": reason} for id, reason in report.misfits],
        "plan": {**document(plan), "fires": fires(plan.manifest)},
    }


def fires(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the next three fires of every schedule."""
    now_ms = int(time.time() * 1000)
    return [
        {"function": function.name, "words": in_words(trigger), "next": next_fires(trigger, now_ms)}
        for function in manifest.functions
        for trigger in function.triggers_of(CronTrigger)
    ]


def deployments_document(deployer: Deployer) -> dict[str, Any]:
    """Return what every folder serves, and the folders that cannot be deployed as they are."""
    catalog = deployer.registry.catalog()
    return {
        "deployments": [deployed_document(deployed) for deployed in catalog.folders.values()],
        "quarantined": [problem.model_dump() for problem in catalog.problems],
    }


def deployed_document(deployed: Deployed) -> dict[str, Any]:
    """Return what a folder serves."""
    candidate = deployed.candidate
    return {
        "folder": deployed.folder,
        "version": deployed.version,
        "deployed_at": rfc3339(deployed.deployed_ms),
        "who": deployed.who,
        "commit": deployed.commit or None,
        "dirty": deployed.dirty,
        "functions": [function.name for function in deployed.manifest.functions],
        "candidate": {"version": candidate.version, "percent": candidate.percent} if candidate else None,
    }


def versions_document(deployer: Deployer, folder: str) -> dict[str, Any] | None:
    """Return a folder's versions with what became of them, and its history; None when it was never deployed."""
    registry = deployer.registry
    kept, history = registry.versions(folder), registry.history(folder)
    deployed = registry.catalog().folders.get(folder)
    if not kept and deployed is None:
        return None
    opened, dead = count_work(deployer.backlog) if deployer.backlog else ({}, {})
    outcomes = deployer.backlog.outcomes(list(kept)) if deployer.backlog else {}
    candidate = deployed.candidate if deployed else None
    deploys = {entry.version: entry for entry in reversed(history) if entry.action == "deploy"}
    versions = []
    for version, live_ms in kept.items():
        origin, counts = deploys.get(version), outcomes.get(version, {})
        versions.append(
            {
                "version": version,
                "is_live": deployed is not None and deployed.version == version,
                "percent": candidate.percent if candidate and candidate.version == version else None,
                "deployed_at": rfc3339(origin.at_ms if origin else live_ms),
                "who": origin.who if origin else "",
                "commit": origin.commit or None if origin else None,
                "dirty": origin.dirty if origin else False,
                "open": opened.get(version, 0),
                "dead_letters": dead.get(version, 0),
                "health": {outcome: counts.get(outcome, 0) for outcome in _OUTCOMES},
                "success_rate": _rate(counts),
            }
        )
    entries = [
        {
            "action": entry.action,
            "version": entry.version,
            "at": rfc3339(entry.at_ms),
            "who": entry.who,
            "percent": entry.percent or None,
        }
        for entry in history
    ]
    return {"folder": folder, "versions": versions, "history": entries}


def diff_document(deployer: Deployer, folder: str, old: str, new: str) -> dict[str, Any]:
    """Return how two versions of a folder differ: files as a unified diff, functions and triggers as in a plan.

    Raises:
        RefusedError: there is no such version.
    """
    versions = [deployer.find(folder, version) for version in (old, new)]
    before, after = (deployer.versions.pack_of(version, folder) for version in versions)
    was, becomes = (deployer.manifest(folder, version) for version in versions)
    functions, triggers = compare(was, becomes)
    return {
        "folder": folder,
        "from": versions[0],
        "to": versions[1],
        "functions": functions_document(functions),
        "triggers": triggers_document(triggers),
        "diff": text_diff(before, after),
    }


def _rate(counts: dict[str, int]) -> float | None:
    """Attempts that ended well, of all that ended one way or the other."""
    ended = sum(counts.get(outcome, 0) for outcome in ("succeeded", "retrying", "failed"))
    return round(counts.get("succeeded", 0) / ended, 4) if ended else None
