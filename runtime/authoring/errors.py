"""Errors a function author can meet or raise. All of OnCue's own errors share one base class."""

from __future__ import annotations

from datetime import timedelta


class OnCueError(Exception):
    """Base class of every error that OnCue raises on purpose."""


class DeclarationError(OnCueError):
    """A decorator, a parameter or a folder declares something that cannot work.

    The message names the value, the place and the cure; `file` and `line` point at the declaration.
    """

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line


class Retry(OnCueError):  # noqa: N818  # to its author it is an order, not an error
    """Raised by a handler: end this attempt and try again, after `after` seconds when given.

    Counts as a failed attempt: when the function's retries are used up, the invocation fails.
    """

    def __init__(self, message: str = "", *, after: float | timedelta | None = None) -> None:
        super().__init__(message or "the handler asked for a retry")
        self.after_s = after.total_seconds() if isinstance(after, timedelta) else after


class GiveUp(OnCueError):  # noqa: N818  # as above
    """Raised by a handler: fail this invocation now, since no retry can succeed (bad input, a final refusal)."""
