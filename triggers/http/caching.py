"""`cache="1h"`: twins, which are invocations of one version with equal arguments, are answered by one run."""

from __future__ import annotations

import hashlib

import msgspec

from triggers.http.payloads import Payload
from triggers.http.targets import Target

#: Objects with their names in order: {"a":1,"b":2} and {"b":2,"a":1} are one value.
_canonical = msgspec.json.Encoder(order="deterministic").encode


def twins_of(target: Target, payload: Payload, version: str) -> str:
    """Return the name that twins share; empty when the function caches nothing."""
    if target.manifest.options.cache_s is None:
        return ""
    twins = hashlib.sha256()
    for part in (target.name.encode(), version.encode(), _canonical(payload.value), payload.blob or b""):
        twins.update(b"%d:" % len(part))
        twins.update(part)
    return twins.hexdigest()
