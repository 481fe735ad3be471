"""The manifest: all that the host knows of a folder. Plain data, printed by the inspection.

{"schema": "oncue.manifest/1", "folder": "thumbnail", "python": "3.11.7",
 "functions": [{"name": "thumbnail", "file": "__init__.py", "line": 12, "options": {"timeout_s": 20, …},
                "triggers": [{"kind": "http", "method": "POST", "path": "/hooks/thumbnail", …}],
                "input_schema": {…}, "blob_parameter": "image", …}]}
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from runtime.authoring.options import FunctionOptions
from runtime.authoring.triggers import CronTrigger, EventTrigger, HttpTrigger, QueueTrigger, Trigger

T = TypeVar("T", HttpTrigger, CronTrigger, EventTrigger, QueueTrigger)

SCHEMA: Literal["oncue.manifest/1"] = "oncue.manifest/1"


class _Plain(BaseModel):
    # An older host meets fields of a newer minor schema: it passes them by.
    model_config = ConfigDict(frozen=True, extra="ignore")


class FunctionManifest(_Plain):
    """One function of a folder."""

    name: str
    #: first line of the docstring, and all of it
    summary: str = ""
    description: str = ""
    #: where it is declared, relative to the folder
    file: str
    line: int
    is_async: bool = False
    options: FunctionOptions
    triggers: tuple[Trigger, ...] = ()
    #: JSON Schema (2020-12) of the event's data
    input_schema: dict[str, Any]
    #: JSON Schema of the result, when it is declared and JSON
    output_schema: dict[str, Any] | None = None
    #: the parameter that a raw body fills
    blob_parameter: str | None = None
    #: whether fields that no parameter names are welcome
    takes_rest: bool = False

    def triggers_of(self, kind: type[T]) -> tuple[T, ...]:
        return tuple(trigger for trigger in self.triggers if isinstance(trigger, kind))


class Manifest(_Plain):
    """One folder's functions."""

    # `schema` is a method of BaseModel; the JSON key stays "schema".
    schema_: Literal["oncue.manifest/1"] = SCHEMA
    folder: str
    python: str
    functions: tuple[FunctionManifest, ...]

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=lambda name: name.rstrip("_"), populate_by_name=True)


class Problem(_Plain):
    """Why a folder cannot serve: the place and the reason, in one sentence each."""

    folder: str
    #: relative to the folder; None when no line is to blame
    file: str | None = None
    line: int | None = None
    reason: str

    def __str__(self) -> str:
        place = f"{self.folder}/{self.file or ''}" + (f":{self.line}" if self.line else "")
        return f"{place}: {self.reason}"
