"""A declared queue source of a deployed function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from runtime.authoring.triggers import QueueTrigger
from runtime.versions.catalog import Catalog, Function


class Connection(NamedTuple):
    """A connection as it is configured."""

    #: where it is configured: "ONCUE_CONNECTION_MAIN"
    variable: str
    #: amqp://…, redis://… or Kafka's bootstrap servers; None: it is not configured
    address: str | None


#: Finds a connection by the name that sources use.
Connections = Callable[[str], Connection]


@dataclass(frozen=True, slots=True)
class Source:
    """One `@queue` of one function."""

    #: "<function>:<digest of the declaration>": the same through deploys, until the declaration changes
    id: str
    trigger: QueueTrigger
    function: Function

    @classmethod
    def of(cls, trigger: QueueTrigger, function: Function) -> Source:
        digest = hashlib.sha256(trigger.model_dump_json().encode()).hexdigest()[:8]
        return cls(f"{function.name}:{digest}", trigger, function)

    @property
    def url(self) -> str:
        return self.trigger.url

    @property
    def connection(self) -> str:
        """The name of the connection that the environment configures."""
        return urlsplit(self.trigger.url).netloc

    @property
    def name(self) -> str:
        """The queue, stream, channel or topic."""
        return unquote(urlsplit(self.trigger.url).path.strip("/"))

    @property
    def group(self) -> str:
        """The consumer group of streams and topics: all listeners of one function share its messages."""
        return self.trigger.group or f"oncue.{self.function.name}"

    @property
    def dead_letter(self) -> str:
        """Where messages that cannot be read go."""
        return self.trigger.dead_letter or f"{self.name}.dead"

    @property
    def queue(self) -> str:
        """The queue that carries the function's invocations."""
        return self.function.manifest.options.queue

    @property
    def takes_blob(self) -> bool:
        return self.function.manifest.blob_parameter is not None


def declared(catalog: Catalog) -> dict[str, Source]:
    """Return every queue source that is deployed, by id."""
    sources = [
        Source.of(trigger, function)
        for function in catalog.functions.values()
        for trigger in function.manifest.triggers_of(QueueTrigger)
    ]
    return {source.id: source for source in sources}
