"""What a function author imports, and nothing heavier than pydantic.

from runtime import Artifact, Context, Event, cron, function, http, on, queue
"""

from runtime.authoring.artifact import Artifact
from runtime.authoring.context import Context, MissingArtifactError
from runtime.authoring.decorators import cron, function, http, on, queue
from runtime.authoring.errors import DeclarationError, GiveUp, OnCueError, Retry
from runtime.authoring.event import Event
from runtime.authoring.routes import Hmac

__all__ = [
    "Artifact",
    "Context",
    "DeclarationError",
    "Event",
    "GiveUp",
    "Hmac",
    "MissingArtifactError",
    "OnCueError",
    "Retry",
    "cron",
    "function",
    "http",
    "on",
    "queue",
]
