"""What a handler can ask of and say to the invocation it runs in."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runtime.authoring.artifact import Artifact
from runtime.authoring.errors import OnCueError
from runtime.authoring.quantities import seconds

#: `send(kind, payload)`: kind is "progress", "emit" or "invoke"; payload is JSON.
Send = Callable[[str, dict[str, Any]], None]

_MISSING: Any = object()


class MissingSecretError(OnCueError):
    """`ctx.secret` was asked for a secret that is not declared or has no value."""


class MissingArtifactError(OnCueError):
    """`ctx.artifact` was asked for the result of an invocation that has none."""


def _no_artifact(invocation_id: str) -> Artifact:
    raise MissingArtifactError(f"invocation {invocation_id!r} has no result here; give Context an artifact=")


class Context:
    """One attempt of one invocation, as its handler sees it.

    A unit test makes one by hand: `Context()` has sensible values, and `sent` holds what the handler
    said through it, as `(kind, payload)` pairs.
    """

    __slots__ = (
        "_artifact",
        "_secrets",
        "_send",
        "_state_dir",
        "attempt",
        "deadline",
        "function",
        "id",
        "idempotency_key",
        "log",
        "sent",
        "trace",
    )

    def __init__(
        self,
        *,
        id: str = "test",
        function: str = "test",
        attempt: int = 1,
        deadline: datetime | None = None,
        idempotency_key: str | None = None,
        state_dir: Path | None = None,
        secrets: Mapping[str, str] | None = None,
        trace: Mapping[str, str] | None = None,
        send: Send | None = None,
        artifact: Callable[[str], Artifact] = _no_artifact,
    ) -> None:
        #: the invocation's id; the same in every attempt
        self.id = id
        #: the name of the function that runs
        self.function = function
        #: which try this is, from 1
        self.attempt = attempt
        #: when the child is killed, aware, UTC
        self.deadline = deadline or datetime.now(UTC) + timedelta(seconds=30)
        #: the same in every attempt, and for a repeat of the same request: commit effects through it
        self.idempotency_key = idempotency_key or id
        #: W3C trace context of the caller: "traceparent", "tracestate"
        self.trace = dict(trace or {})
        #: a standard logger; its lines are kept with the invocation
        self.log = logging.getLogger(function)
        #: what the handler sent, when no `send` is given (unit tests)
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self._artifact = artifact
        self._state_dir = state_dir
        self._secrets = dict(secrets or {})
        self._send: Send = send or (lambda kind, payload: self.sent.append((kind, payload)))

    @property
    def state_dir(self) -> Path:
        """A writable folder of this function folder's own, on this host; it outlives versions."""
        if self._state_dir is None:
            self._state_dir = Path(tempfile.mkdtemp(prefix="oncue-"))
        self._state_dir.mkdir(parents=True, exist_ok=True)
        return self._state_dir

    def progress(self, fraction: float, note: str = "") -> None:
        """Tell how far the work is: `fraction` from 0 to 1, and a few words. Cheap; the newest wins."""
        if not math.isfinite(fraction):
            raise ValueError(f"progress is a fraction from 0 to 1, not {fraction!r}")
        self._send("progress", {"fraction": min(max(float(fraction), 0.0), 1.0), "note": str(note)[:500]})

    def emit(self, type: str, data: Any = None) -> None:
        """Send an event when this attempt succeeds; nothing leaves when it does not."""
        if not type:
            raise ValueError("emit needs an event type, like 'image.uploaded'")
        self._send("emit", {"type": type, "data": data})

    def invoke(
        self,
        function: str,
        data: Any = None,
        *,
        delay: str | float | timedelta = 0,
        then: str | tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Invoke another function when this attempt succeeds, `delay` later; nothing leaves when it does not.

        `then` names the function to invoke when that one has succeeded, alone or with data: `("mail", {"to": "…"})`. It
        gets that data and, as `invocation`, the id of what succeeded, for `artifact`.
        """
        payload = {"function": function, "data": data, "delay_s": seconds(delay)}
        if then is not None:
            name, more = (then, {}) if isinstance(then, str) else then
            payload["then"] = {"function": name, "data": dict(more)}
        self._send("invoke", payload)

    def artifact(self, invocation_id: str) -> Artifact:
        """Return the result of a succeeded invocation, whatever its function; a JSON result as its JSON text. Blocks.

        Raises:
            MissingArtifactError: there is no such invocation, it has not succeeded, or its result has expired.
        """
        return self._artifact(invocation_id)

    def secret(self, name: str, default: str | None = _MISSING) -> str | None:
        """Return a declared secret's value, or `default` when that is given and there is none.

        Raises:
            MissingSecretError: the secret is not declared by the function, or the host has no value for it.
        """
        value = self._secrets.get(name, default)
        if value is _MISSING:
            raise MissingSecretError(
                f"secret {name!r} is not available to {self.function!r}: declare it with @function(secrets=[{name!r}]) "
                f"and set ONCUE_SECRET_{name} where the workers run"
            )
        return value
