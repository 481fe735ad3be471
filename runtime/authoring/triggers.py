"""What can make a function run, as plain checked values. They travel in the manifest as JSON."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from runtime.authoring import schedule
from runtime.authoring.quantities import seconds, size_in_bytes

#: Paths that belong to OnCue itself (HTTP.md); every other path is free for functions.
RESERVED_PATHS = ("/v1", "/ui", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics")

#: Signature schemes a declared route can ask for.
SCHEMES = (
    "standard_webhooks",
    "github",
    "stripe",
    "slack",
    "shopify",
    "twilio",
    "gitlab",
    "sns",
    "basic",
    "api_key",
    "cloudevents",
)

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+|\{[A-Za-z_][A-Za-z0-9_]*\}")
_EVENT_TYPE = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_EVENT_PATTERN = re.compile(r"(?:[A-Za-z0-9_-]+|\*)(?:\.(?:[A-Za-z0-9_-]+|\*))*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # a token of RFC 9110, section 5.6.2
_TOPIC = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,261}$"
_QUEUE_SCHEMES = ("rabbitmq", "redis", "redis+pubsub", "kafka")

#: A filter on data fields: {"action": "opened", "pull_request.draft": False, "kind": ["a", "b"]}.
When = dict[str, Any]


class _Declared(BaseModel):
    # Built at first use: a child that starts needs few of them.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Hmac(_Declared):
    """A webhook signed with an HMAC of its raw body, for senders that no named scheme covers."""

    #: the header that carries the signature, e.g. "X-Signature"
    header: str
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    #: text in front of the signature, e.g. "sha256="
    prefix: str = ""
    #: the header that names the delivery, so that a repeat makes no second invocation, e.g. "X-Delivery-Id"
    delivery: str | None = None

    @field_validator("header", "delivery")
    @classmethod
    def _is_header(cls, value: str | None) -> str | None:
        return value if value is None else _header_name(value)


class HttpTrigger(_Declared):
    """A declared route: `@http("POST /hooks/thumbnail")`."""

    kind: Literal["http"] = "http"
    method: str
    #: "/hooks/{customer}/thumbnail"; a `{name}` segment fills the parameter of that name
    path: str
    #: a scheme of `SCHEMES`, or an `Hmac`
    verify: str | Hmac | None = None
    #: names of the secrets that may have signed; any of them may match (rotation)
    secret: tuple[str, ...] = ()
    #: seconds a signed timestamp may be off, for schemes that sign one
    tolerance_s: float = 300.0
    when: When | None = None
    #: "accepted": answer 202 at once; "result": wait for the result, then fall back to 202
    respond: Literal["accepted", "result"] = "accepted"
    #: a fixed answer instead: {"status": 200, "body": "ok", "headers": {...}}
    response: dict[str, Any] | None = None
    #: ARNs of the topics this route takes messages of (scheme `sns`): anybody's topic has a valid signature
    topics: tuple[Annotated[str, Field(pattern=_TOPIC)], ...] = ()
    #: confirm the subscriptions that those topics ask for, by opening the link they send (scheme `sns`)
    confirm: bool = False
    #: the header that carries the key (scheme `api_key`); None: X-API-Key
    header: str | None = None

    @field_validator("verify")
    @classmethod
    def _known_scheme(cls, value: str | Hmac | None) -> str | Hmac | None:
        if isinstance(value, str) and value not in SCHEMES:
            raise ValueError(f"unknown scheme {value!r}; use one of {', '.join(SCHEMES)}, or Hmac(header=...)")
        return value

    @field_validator("header")
    @classmethod
    def _is_header(cls, value: str | None) -> str | None:
        return value if value is None else _header_name(value)

    @model_validator(mode="after")
    def _scheme_has_its_options(self) -> HttpTrigger:
        if self.verify is not None and not self.secret and self.verify not in ("sns", "cloudevents"):
            raise ValueError(f"verify={self.verify!r} needs secret='NAME' (or a list of names, for rotation)")
        if self.verify == "sns" and not self.topics:
            raise ValueError("verify='sns' needs topics=['arn:aws:sns:…']: messages of anybody's topic carry a valid signature")
        if self.verify == "sns" and self.secret:
            raise ValueError("verify='sns' takes no secret: messages are verified by Amazon's certificate; leave it out")
        for option, scheme in (("topics", "sns"), ("confirm", "sns"), ("header", "api_key")):
            if getattr(self, option) and self.verify != scheme:
                raise ValueError(f"{option}= belongs to verify={scheme!r}, and this is verify={self.verify!r}; leave it out")
        return self

    @model_validator(mode="after")
    def _route_can_be_served(self) -> HttpTrigger:
        if self.method not in _METHODS:
            raise ValueError(f"unknown method {self.method!r}; use one of {', '.join(_METHODS)}")
        if not self.path.startswith("/") or len(self.path) > 500:
            raise ValueError(f"the path {self.path!r} must start with '/' and stay below 500 characters")
        segments = self.path[1:].split("/")
        for segment in segments if self.path != "/" else ():
            if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
                raise ValueError(
                    f"the path {self.path!r} has the segment {segment!r}; use letters, digits, '-._~' or one {{name}}"
                )
        names = [segment for segment in segments if segment.startswith("{")]
        if len(set(names)) != len(names):
            raise ValueError(f"the path {self.path!r} names a parameter twice")
        reserved = next((r for r in RESERVED_PATHS if self.path == r or self.path.startswith(r + "/")), None)
        if reserved:
            raise ValueError(f"the path {self.path!r} is reserved by OnCue ({reserved}); choose another, like '/hooks/…'")
        return self


class CronTrigger(_Declared):
    """A schedule: `@cron("*/5 * * * *", timezone="Europe/Paris")` or `@cron(every="30s")`."""

    kind: Literal["cron"] = "cron"
    #: five Vixie fields, or None when `every_s` is set; aliases like "@daily" are resolved
    expression: str | None = None
    every_s: float | None = None
    timezone: str = "UTC"
    catch_up: Literal["skip", "latest", "all"] = "skip"
    max_catch_up: Annotated[int, Field(ge=1, le=10_000)] = 100
    overlap: Literal["allow", "skip", "queue"] = "allow"
    jitter_s: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _aliases(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("expression"), str):
            text = " ".join(values["expression"].split())
            return {**values, "expression": schedule.ALIASES.get(text.lower(), text)}
        return values

    @model_validator(mode="after")
    def _can_fire(self) -> CronTrigger:
        if (self.expression is None) == (self.every_s is None):
            raise ValueError('a schedule is either an expression, like "0 9 * * MON-FRI", or every="30s"')
        if self.expression is not None:
            schedule.check_expression(self.expression)
        if self.every_s is not None and not 1 <= self.every_s <= 366 * 86400:
            raise ValueError(f"every={self.every_s:g}s is out of range; use 1 second to 366 days")
        schedule.check_timezone(self.timezone)
        return self


class EventTrigger(_Declared):
    """A subscription to events by name: `@on("image.uploaded")`, `@on("image.*")`."""

    kind: Literal["event"] = "event"
    #: dot-separated names; "*" stands for one name, or for all that follow when it is last
    type: str
    when: When | None = None

    @field_validator("type")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        if not _EVENT_PATTERN.fullmatch(value):
            raise ValueError(f"{value!r} is no event name; write it like 'image.uploaded' or 'image.*'")
        return value


class QueueTrigger(_Declared):
    """A queue source: `@queue("rabbitmq://main/orders", prefetch=20)`. TRIGGERS.md tells each option."""

    kind: Literal["queue"] = "queue"
    #: "<scheme>://<connection name>/<queue, stream, channel or topic>"; the connection comes from the environment
    url: str
    format: Literal["auto", "json", "cloudevents", "bytes"] = "auto"
    dedupe: str | None = None
    when: When | None = None
    batch: Annotated[int, Field(ge=1, le=1000)] = 1
    window_s: float = 0.0
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
    claim_idle_s: float | None = None
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


Trigger = Annotated[HttpTrigger | CronTrigger | EventTrigger | QueueTrigger, Field(discriminator="kind")]


class FunctionOptions(_Declared):
    """How a function runs. The one table of defaults, with units."""

    #: tries after the first one
    retries: Annotated[int, Field(ge=0, le=100)] = 3
    #: pause before the first retry, its ceiling, its growth, and the share of it that is random
    backoff_min_s: Annotated[float, Field(ge=0, le=86400)] = 1.0
    backoff_max_s: Annotated[float, Field(ge=0, le=7 * 86400)] = 600.0
    backoff_factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    backoff_jitter: Annotated[float, Field(ge=0, le=1)] = 0.1
    #: names of exceptions: only these are retried (empty: all), these never are
    retry_on: tuple[str, ...] = ()
    give_up_on: tuple[str, ...] = ()
    #: wall-clock seconds an attempt may take before its child is killed
    timeout_s: Annotated[float, Field(gt=0, le=86400)] = 30.0
    #: memory a child may take, in bytes
    memory_bytes: Annotated[int, Field(ge=64 * 10**6)] = 512 * 10**6
    #: the queue that carries its invocations
    queue: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "default"
    #: seconds a result answers equal invocations; None: never
    cache_s: float | None = None
    #: seconds a result is kept
    result_ttl_s: Annotated[float, Field(ge=1, le=30 * 86400)] = 86400.0
    #: the largest request body it takes over HTTP
    max_body_bytes: Annotated[int, Field(ge=1, le=2**30)] = 2**20
    #: secrets it cannot work without
    secrets: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")], ...] = ()
    #: secrets it can work without: name -> what happens then, in a few words; "{state}" becomes its state folder
    optional_secrets: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")], str] = {}

    @model_validator(mode="after")
    def _backoff_grows(self) -> FunctionOptions:
        if self.backoff_min_s > self.backoff_max_s:
            raise ValueError(f"backoff_min={self.backoff_min_s:g}s is above backoff_max={self.backoff_max_s:g}s; swap them")
        return self


#: Option names as an author writes them -> field, and how the written value is read.
AUTHOR_UNITS = {
    "backoff_min": ("backoff_min_s", seconds),
    "backoff_max": ("backoff_max_s", seconds),
    "timeout": ("timeout_s", seconds),
    "memory": ("memory_bytes", size_in_bytes),
    "cache": ("cache_s", seconds),
    "result_ttl": ("result_ttl_s", seconds),
    "max_body": ("max_body_bytes", size_in_bytes),
    "tolerance": ("tolerance_s", seconds),
    "jitter": ("jitter_s", seconds),
    "every": ("every_s", seconds),
    "window": ("window_s", seconds),
    "claim_idle": ("claim_idle_s", seconds),
}


def is_event_type(value: str) -> bool:
    """Tell whether `value` can be the type of an emitted event."""
    return _EVENT_TYPE.fullmatch(value) is not None


def _header_name(value: str) -> str:
    if not _HEADER.fullmatch(value):
        raise ValueError(f"{value!r} is no name of a header; write it like 'X-Signature'")
    return value
