"""Why a deploy, a rollback or the like is refused: a stable code, and the problem in words."""

from __future__ import annotations

from typing import Literal

from runtime.authoring.errors import OnCueError
from runtime.authoring.manifest import Problem

Reason = Literal["broken-folder", "clash", "missing-secrets", "not-warm", "unknown-folder", "unknown-version", "invalid-wish"]


class RefusedError(OnCueError):
    """A deploy, a rollback or the like that cannot be done; nothing has changed."""

    def __init__(self, code: Reason, problem: Problem) -> None:
        super().__init__(str(problem))
        self.code = code
        self.problem = problem


def refused(code: Reason, folder: str, reason: str) -> RefusedError:
    """Return the refusal of something that no file of the folder is to blame for."""
    return RefusedError(code, Problem(folder=folder, reason=reason))
