"""How a command can end badly: each error is one sentence, with the exit code that scripts go by."""

from __future__ import annotations

from runtime.authoring.errors import OnCueError


class UsageError(OnCueError):
    """The command line says something that cannot be done."""

    exit_code = 2


class FailedError(OnCueError):
    """The invocation failed, or the API is not there."""

    exit_code = 1


class NotInTimeError(OnCueError):
    """The invocation had not ended when the time was up; it goes on."""

    exit_code = 3
