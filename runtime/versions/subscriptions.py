"""Which functions an event is for: their subscriptions held against its type and data, with the reason of each answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from runtime.authoring.event import Event
from runtime.ledger.events import Answer, Occurrence, Owed
from runtime.versions.catalog import Catalog
from runtime.versions.filters import matches


@dataclass(frozen=True, slots=True)
class Match:
    """One subscription's answer to one event."""

    function: str
    version: str
    queue: str
    #: what the function subscribed to: "image.*"
    pattern: str
    matched: bool
    #: why not, in a few words; empty when it matched
    why: str = ""


def takes_type(pattern: str, type: str) -> bool:
    """Tell whether a pattern covers an event type: `*` stands for one name, and at the end for all that follow."""
    wanted, names = pattern.split("."), type.split(".")
    if wanted[-1] == "*" and len(names) > len(wanted):
        names = names[: len(wanted)]
    return len(wanted) == len(names) and all(w in ("*", n) for w, n in zip(wanted, names, strict=True))


def resolve(catalog: Catalog, type: str, data: Any, *, key: str = "") -> list[Match]:
    """Hold every subscription against an event. A function with several that match is named once.

    `key`: the event's id, which decides whose share of a rollout it is.
    """
    answers: dict[str, Match] = {}
    for trigger, function in catalog.subscriptions:
        if not takes_type(trigger.type, type):
            why = f"subscribes to {trigger.type}"
        elif not matches(trigger.when, data):
            why = f"its filter does not take the data: {trigger.when}"
        else:
            why = ""
        known = answers.get(function.name)
        if known is None or (not known.matched and not why):
            queue = function.manifest.options.queue
            answers[function.name] = Match(function.name, function.version_for(key), queue, trigger.type, not why, why)
    return list(answers.values())


def occurrence(catalog: Catalog, event: Event, *, document: bytes | None = None, blob: bytes | None = None) -> Occurrence:
    """Return an event as it is published: with every subscription's answer, and what is owed to those that match."""
    answers = resolve(catalog, event.type, event.data, key=event.id)
    return Occurrence(
        id=event.id,
        source=event.source,
        type=event.type,
        document=document if document is not None else msgspec.json.encode(event.document()),
        blob=blob,
        owed=[Owed(match.function, match.version, match.queue) for match in answers if match.matched],
        answers=[Answer(match.function, match.pattern, match.matched, match.why) for match in answers],
    )
