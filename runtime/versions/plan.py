"""What a deploy would change: files, functions and triggers of two versions held against each other, and what stands in the way.

{"folder": "thumbnail", "version": "5c1…", "from": "9f2…",
 "files": {"added": [], "changed": ["__init__.py"], "removed": []},
 "functions": [{"name": "thumbnail", "change": "changed", "details": ["timeout_s: 20.0 → 30.0"]}],
 "triggers": [{"function": "thumbnail", "change": "added", "trigger": {"kind": "http", "method": "POST", …}}],
 "missing_secrets": [{"name": "API_TOKEN", "function": "thumbnail"}], "clashes": []}
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from runtime.authoring.errors import DeclarationError
from runtime.authoring.manifest import FunctionManifest, Manifest
from runtime.authoring.triggers import HttpTrigger, Trigger
from runtime.versions.catalog import Catalog
from runtime.versions.pack import Pack

#: Files longer than this are told to differ, not how.
MAX_DIFF_BYTES = 256 * 1024

_ALIKE = frozenset(("options", "triggers", "line"))

ChangeKind = Literal["added", "changed", "removed"]


@dataclass(frozen=True, slots=True)
class FunctionChange:
    name: str
    change: ChangeKind
    #: what has changed of it, in a few words each
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TriggerChange:
    function: str
    change: Literal["added", "removed"]
    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Files:
    """Paths of files by what became of them."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @classmethod
    def of(cls, before: Pack | None, after: Pack | None) -> Files:
        old, new = (dict(packed.files) if packed else {} for packed in (before, after))
        both = old.keys() & new.keys()
        changed = (path for path in both if old[path] != new[path])
        return cls(tuple(sorted(new.keys() - old.keys())), tuple(sorted(changed)), tuple(sorted(old.keys() - new.keys())))


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change, and what stands in the way."""

    folder: str
    version: str
    #: the version that is served now, if any
    before: str | None
    manifest: Manifest
    files: Files = Files()
    functions: tuple[FunctionChange, ...] = ()
    triggers: tuple[TriggerChange, ...] = ()
    #: (secret, function): declared, and without a value on this host
    missing_secrets: tuple[tuple[str, str], ...] = ()
    clashes: tuple[DeclarationError, ...] = ()


def compare(before: Manifest | None, after: Manifest) -> tuple[tuple[FunctionChange, ...], tuple[TriggerChange, ...]]:
    """Return what becomes of functions and triggers, in order of the functions' names."""
    old = {function.name: function for function in before.functions} if before else {}
    new = {function.name: function for function in after.functions}
    functions: list[FunctionChange] = []
    triggers: list[TriggerChange] = []
    for name in sorted(old.keys() | new.keys()):
        was, becomes = old.get(name), new.get(name)
        if was is None or becomes is None:
            functions.append(FunctionChange(name, "removed" if becomes is None else "added"))
        elif details := _details(was, becomes):
            functions.append(FunctionChange(name, "changed", details))
        had, has = (function.triggers if function else () for function in (was, becomes))
        triggers += (TriggerChange(name, "added", trigger) for trigger in has if trigger not in had)
        triggers += (TriggerChange(name, "removed", trigger) for trigger in had if trigger not in has)
    return tuple(functions), tuple(triggers)


def missing_secrets(manifest: Manifest, secret: Callable[[str], str | None]) -> tuple[tuple[str, str], ...]:
    """Return the secrets that functions and their routes cannot do without, and that have no value here."""
    found: dict[tuple[str, str], None] = {}
    for function in manifest.functions:
        wanted = [*function.options.secrets]
        for trigger in function.triggers_of(HttpTrigger):
            # Any one of a route's secrets may have signed: with one of them it can be served.
            if trigger.secret and not any(secret(name) for name in trigger.secret):
                wanted += trigger.secret
        found |= {(name, function.name): None for name in wanted if not secret(name)}
    return tuple(found)


def clashes(catalog: Catalog, manifest: Manifest) -> tuple[DeclarationError, ...]:
    """Return why a manifest cannot be deployed beside what is, if it cannot."""
    try:
        catalog.check(manifest)
    except DeclarationError as error:
        return (error,)
    return ()


def text_diff(before: Pack, after: Pack) -> str:
    """Return how the files of two versions differ, as a unified diff; of what is no short text, that it differs."""
    old, new = dict(before.files), dict(after.files)
    lines: list[str] = []
    for path in sorted(old.keys() | new.keys()):
        was, becomes = old.get(path), new.get(path)
        if was == becomes:
            continue
        old_text, new_text = _text(was), _text(becomes)
        if old_text is None or new_text is None:
            lines.append(f"{path}: {_size(was)} → {_size(becomes)}\n")
            continue
        names = (f"a/{path}" if was is not None else "/dev/null", f"b/{path}" if becomes is not None else "/dev/null")
        whole = difflib.unified_diff(old_text, new_text, *names)
        lines += (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in whole)
    return "".join(lines)


def _details(was: FunctionManifest, becomes: FunctionManifest) -> tuple[str, ...]:
    options, before = becomes.options.model_dump(), was.options.model_dump()
    told = [f"{name}: {before[name]} → {value}" for name, value in options.items() if value != before[name]]
    fields = (name for name in type(becomes).model_fields if name not in _ALIKE)
    told += [name.replace("_", " ") for name in fields if getattr(was, name) != getattr(becomes, name)]
    if any(trigger not in was.triggers for trigger in becomes.triggers) or len(was.triggers) != len(becomes.triggers):
        told.append("triggers")
    return tuple(told)


def _text(content: bytes | None) -> list[str] | None:
    if content is None:
        return []
    if len(content) > MAX_DIFF_BYTES or b"\0" in content:
        return None
    try:
        return content.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return None


def _size(content: bytes | None) -> str:
    return "none" if content is None else f"{len(content):,} bytes"


def document(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON."""
    return {
        "folder": plan.folder,
        "version": plan.version,
        "from": plan.before,
        "files": {"added": plan.files.added, "changed": plan.files.changed, "removed": plan.files.removed},
        "functions": functions_document(plan.functions),
        "triggers": triggers_document(plan.triggers),
        "missing_secrets": [{"name": name, "function": function} for name, function in plan.missing_secrets],
        "clashes": [str(clash) for clash in plan.clashes],
    }


def functions_document(changes: Iterable[FunctionChange]) -> list[dict[str, Any]]:
    """Return what becomes of functions, as JSON."""
    return [{"name": each.name, "change": each.change, "details": each.details} for each in changes]


def triggers_document(changes: Iterable[TriggerChange]) -> list[dict[str, Any]]:
    """Return what becomes of triggers, as JSON."""
    return [
        {"function": each.function, "change": each.change, "trigger": each.trigger.model_dump(mode="json", exclude_none=True)}
        for each in changes
    ]
