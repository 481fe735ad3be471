"""Queue sources: `@queue("rabbitmq://main/orders", prefetch=20)`, checked."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, model_validator

from runtime.authoring.declared import Declared, When

_QUEUE_SCHEMES = ("rabbitmq", "redis", "redis+pubsub", "kafka")


class QueueTrigger(Declared):
    """A queue source: `@queue("rabbitmq://main/orders", prefetch=20)`. TRIGGERS.md tells each option."""

    kind: Literal["queue"] = "queue"
    #: "<scheme>://<connection name>/<queue, stream, channel or topic>"; the connection comes from the environment
    url: str
    format: Literal["auto", "json", "cloudevents", "bytes"] = "auto"
    dedupe: str | None = None
    when: When | None = None
    batch: Annotated[int, Field(ge=1, le=1000)] = 1
    #: messages wait unacknowledged meanwhile; RabbitMQ takes them back after 30 minutes
    window_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    on_invalid: Literal["dead_letter", "drop"] = "dead_letter"
    pause_above: Annotated[int, Field(ge=1)] | None = None
    # RabbitMQ
    bind: tuple[str, str] | None = None
    queue_type: Literal["quorum", "classic"] | None = None
    prefetch: Annotated[int, Field(ge=1, le=65535)] | None = None
    delivery_limit: Annotated[int, Field(ge=1)] | None = None
    dead_letter: str | None = None
    # Redis Streams and Kafka
    group: str | None = None
    claim_idle_s: Annotated[float, Field(ge=0.1, le=86400)] | None = None
    max_deliveries: Annotated[int, Field(ge=1)] | None = None
    start: Literal["earliest", "latest"] | None = None
    # Redis pub/sub
    lossy: bool = False

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @model_validator(mode="after")
    def _source_is_known(self) -> QueueTrigger:
        parts = urlsplit(self.url)
        if parts.scheme not in _QUEUE_SCHEMES:
            raise ValueError(f"{self.url!r} has an unknown scheme; use one of {', '.join(s + '://' for s in _QUEUE_SCHEMES)}")
        if not parts.netloc or "@" in parts.netloc or ":" in parts.netloc or not parts.path.strip("/"):
            raise ValueError(
                f"{self.url!r} must be {parts.scheme}://<connection>/<name>, as in {parts.scheme}://main/orders; "
                "hosts and passwords belong in the environment"
            )
        if "?" in self.url or "#" in self.url:
            raise ValueError(f"{self.url!r} ends its name at ? or #; where they belong to it, write %3F and %23")
        if parts.scheme == "redis+pubsub" and not self.lossy:
            raise ValueError(f"{self.url!r}: pub/sub forgets what nobody hears; say lossy=True to accept that, or use redis://")
        own = {
            "rabbitmq": {"bind", "queue_type", "prefetch", "delivery_limit", "dead_letter"},
            "redis": {"group", "claim_idle_s", "max_deliveries", "start", "dead_letter"},
            "redis+pubsub": {"lossy"},
            "kafka": {"group", "start", "dead_letter"},
        }
        alien = (set().union(*own.values()) - own[parts.scheme]) & self.model_fields_set
        alien = {name for name in alien if getattr(self, name) not in (None, False)}
        if alien:
            known = ", ".join(sorted(name.removesuffix("_s") for name in own[parts.scheme]))
            raise ValueError(
                f"{self.url!r} does not take {', '.join(sorted(n.removesuffix('_s') for n in alien))}; "
                f"{parts.scheme} sources take {known}"
            )
        return self

    @model_validator(mode="after")
    def _options_agree(self) -> QueueTrigger:
        if self.dead_letter == unquote(urlsplit(self.url).path.strip("/")):
            raise ValueError(
                f"dead_letter={self.dead_letter!r} is the source itself: what cannot be read would come back for ever; name another"
            )
        if self.prefetch is not None and self.prefetch < self.batch:
            raise ValueError(
                f"prefetch={self.prefetch} is below batch={self.batch}: no batch would ever be full; write at least {2 * self.batch}"
            )
        if self.queue_type == "classic" and self.delivery_limit is not None:
            raise ValueError("classic queues have no delivery limit; leave delivery_limit out, or use queue_type='quorum'")
        return self
