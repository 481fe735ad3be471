"""Says in words what is deployed: each function with its triggers and URLs, what is quarantined, what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from infra.settings import SECRET_PREFIX, Settings, connection, connection_variable, secret

#: The catalog as `infra.deploying` prints it.
Catalog = dict[str, Any]
#: The parts of a line: words, or (words, style).
Line = tuple[str | tuple[str, str], ...]

EMPTY: Catalog = {"folders": {}, "problems": []}

#: What is told of a function's manifest; a catalog has no more of it. A change of line or schema is none of these.
TOLD: dict[str, bool | set[str]] = {"name": True, "summary": True, "triggers": True, "options": {"secrets", "optional_secrets"}}


def changes(before: Catalog, after: Catalog, settings: Settings) -> Iterator[Line]:
    """Yield lines for what `after` serves or refuses that `before` did not, and for what is gone."""
    for folder, deployed in after["folders"].items():
        known = before["folders"].get(folder)
        if known is None or known["version"] != deployed["version"]:
            if known is not None:
                yield (("↻ ", "green"), f"{folder} is now at version ", (deployed["version"][:12], "dim"))
            had = {function["name"]: function for function in known["functions"]} if known is not None else {}
            for function in deployed["functions"]:
                if had.pop(function["name"], None) != function:
                    yield from _function(folder, function, settings)
            for name in had:
                yield (("− ", "yellow"), f"{name} is gone")
    for folder in before["folders"].keys() - after["folders"].keys():
        yield (("− ", "yellow"), f"{folder} is no longer served")
    for problem in after["problems"]:
        if problem not in before["problems"]:
            yield from _problem(problem, serving=problem["folder"] in after["folders"], settings=settings)


def _function(folder: str, function: dict[str, Any], settings: Settings) -> Iterator[Line]:
    name = function["name"]
    yield (("● ", "green"), (name, "bold"), f"  {function['summary']}" if function["summary"] else "")
    yield (("    POST ", "dim"), f"{settings.base_url}/v1/functions/{name}")
    for trigger in function["triggers"]:
        words = trigger_words(trigger)
        if trigger["kind"] == "http":
            yield ((f"    {trigger['method']} ", "dim"), f"{settings.base_url}{trigger['path']}")
        else:
            yield (("    ", ""), (words, "cyan"))
    options = function["options"]
    wanted = dict.fromkeys(options["secrets"], "it cannot work without") | dict.fromkeys(
        (s for t in function["triggers"] for s in t.get("secret", ())), "its requests cannot be verified without"
    )
    for secret_name, why in wanted.items():
        if secret(secret_name) is None:
            yield (("    ! ", "yellow"), f"set {SECRET_PREFIX}{secret_name}: {why}")
    for url in (t["url"] for t in function["triggers"] if t["kind"] == "queue"):
        name = urlsplit(url).netloc
        if connection(name) is None:
            yield (("    ! ", "yellow"), f"set {connection_variable(name)}: {url} cannot be read without")
    for secret_name, note in options["optional_secrets"].items():
        if secret(secret_name) is None:
            note = note.replace("{state}", str(settings.data.absolute() / "state" / folder))
            yield (("    i ", "cyan"), (f"without {SECRET_PREFIX}{secret_name} ", "dim"), note)


def _problem(problem: dict[str, Any], *, serving: bool, settings: Settings) -> Iterator[Line]:
    place = settings.functions / problem["folder"] / (problem["file"] or "")
    line = f":{problem['line']}" if problem["line"] else ""
    yield (("✗ ", "red"), (f"{place}{line}", "bold"), f": {problem['reason']}")
    yield ((f"    {'its previous version goes on serving' if serving else 'not served'} until this is mended", "dim"),)


def trigger_words(trigger: dict[str, Any]) -> str:
    """Say a manifest's trigger in a few words: "on image.uploaded", "cron 0 9 * * MON-FRI Europe/Paris"."""
    kind = trigger["kind"]
    if kind == "http":
        return f"{trigger['method']} {trigger['path']}"
    if kind == "cron" and trigger.get("every_s") is not None:  # the API leaves out what is None
        return f"every {trigger['every_s']:g} s"
    if kind == "cron":
        return f"cron {trigger['expression']} {trigger['timezone']}"
    return f"on {trigger['type']}" if kind == "event" else f"queue {trigger['url']}"
