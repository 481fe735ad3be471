"""The one place where the environment is read: every setting with its default and its unit.

ONCUE_PORT=9000 ONCUE_LEASE=10s oncue up

A supervisor hands its settings to the processes it starts through `Settings.environment()`.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from runtime.authoring import misfits
from runtime.authoring.errors import OnCueError
from runtime.authoring.quantities import read_rate, seconds

PREFIX = "ONCUE_"
SECRET_PREFIX = "ONCUE_SECRET_"  # noqa: S105  # the prefix of names, no secret itself

CONNECTION_PREFIX = "ONCUE_CONNECTION_"

#: Seconds, written "5s" or "1h30m"; a bare number counts seconds.
Seconds = Annotated[float, NoDecode, BeforeValidator(lambda value: seconds(_number(value)))]

#: Several words, separated by commas.
Words = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(lambda value: tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value),
]


#: Settings that are URLs, the schemes that each takes, and how it is written.
_URLS = {
    "url": (("http", "https"), "http://127.0.0.1:8080"),
    "redis_url": (("redis", "rediss", "unix"), "redis://host:6379/0"),
    "broker": (("amqp", "amqps"), "amqp://user:password@host:5672/vhost"),
    "store": (("file", "s3"), "s3://bucket/prefix"),
}
#: Settings whose values hold secrets.
_SECRET = ("key", "redis_url", "broker")


class SettingsError(OnCueError):
    """A setting has a value that cannot be used."""

    exit_code = 2


class Settings(BaseSettings):
    """What the environment says. The name of a setting is ONCUE_ and the field's name in capitals, without `_s`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    #: the address the web process binds; any other than loopback only once there is an API key
    host: str = "127.0.0.1"
    #: its port; 0 takes a free one
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    #: where the CLI finds the API; unset: the host and port above
    url: str | None = None
    #: where webhook senders reach this OnCue, for schemes that sign the URL: https://hooks.example.org
    public_url: str | None = None
    #: the API key that the CLI shows
    key: str | None = None
    #: redis://…, rediss://… or unix://…; unset: the embedded server
    redis_url: str | None = None
    #: amqp://… carries invocations over RabbitMQ; unset: Redis carries
    broker: str | None = None
    #: where results beyond 1 MiB go: file:///… or s3://bucket/prefix; unset: a folder of `data`
    store: str | None = None
    #: the folder of everything OnCue keeps: the embedded server's data, versions, results, state
    data: Path = Path(".data")
    #: the folder of function folders
    functions: Path = Path("functions")
    #: worker processes
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    #: threads of each worker process: invocations it runs at once
    threads: Annotated[int, Field(ge=1, le=256)] = 8
    #: when the embedded server writes to disk: "always" before it answers, "everysec" once a second
    fsync: Literal["always", "everysec"] = "always"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: how long a silent worker keeps its invocations before others may take them
    lease_s: Annotated[Seconds, Field(ge=0.5, le=3600, validation_alias="ONCUE_LEASE")] = 5.0
    #: how long a stopping worker lets running invocations finish; their own timeouts end most of them sooner
    grace_s: Annotated[Seconds, Field(ge=0, le=3600, validation_alias="ONCUE_GRACE")] = 3600.0
    #: how long an unused child stays warm
    idle_s: Annotated[Seconds, Field(ge=1, le=86400, validation_alias="ONCUE_IDLE")] = 300.0
    #: how long failed invocations are kept
    retention_s: Annotated[Seconds, Field(ge=60, le=366 * 86400, validation_alias="ONCUE_RETENTION")] = 30 * 86400.0

    #: requests that one caller may send to one function ("1000/s", "600/m", "5/30s" or "off"); counted once there are keys
    rate_limit: str = "1000/s"
    #: requests from one address that may fail to authenticate
    failure_limit: str = "20/m"
    #: addresses or networks of reverse proxies, whose X-Forwarded-For is believed
    proxies: Words = ()
    #: further host names under which this OnCue may be asked while it has no API keys
    hosts: Words = ()
    #: hosts, addresses or networks that callbacks may reach though they are not public
    callback_hosts: Words = ()

    @field_validator(*_URLS)
    @classmethod
    def _is_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        schemes, example = _URLS[info.field_name or ""]
        if value is not None and value.partition("://")[0] not in schemes:
            raise ValueError(f"it begins with {' or '.join(f'{scheme}://' for scheme in schemes)}, like {example}")
        return value

    @field_validator("key")
    @classmethod
    def _fits_a_header(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable() and " " not in value):
            raise ValueError("it holds characters that no key has; set it anew as `oncue key new` printed it")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_base_url(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://unset")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("this is no base URL; write it like https://hooks.example.org")
        return value

    @field_validator("rate_limit", "failure_limit")
    @classmethod
    def _is_rate(cls, value: str) -> str:
        read_rate(value)
        return value

    @field_validator("proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ipaddress.ip_network(each)
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @classmethod
    def load(cls, **said: Any) -> Settings:
        """Read the environment; what is `said` (and not None) goes before it.

        Raises:
            SettingsError: a value cannot be used, or a name looks like a misspelt setting.
        """
        _refuse_misspelt_names()
        try:
            return cls(**{name: value for name, value in said.items() if value is not None})
        except ValidationError as error:
            raise SettingsError(_in_words(error)) from error

    def environment(self) -> dict[str, str]:
        """The settings as environment variables, for a process that is to have the same ones."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        paths = {"data": self.data.absolute(), "functions": self.functions.absolute()}
        return {variable(name): _written(value) for name, value in {**values, **paths}.items() if value is not None}

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the web process."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def ledger_url(self) -> str:
        """Where Redis is.

        Raises:
            SettingsError: none is configured, which only `oncue up` can make up for.
        """
        if self.redis_url is None:
            raise SettingsError("ONCUE_REDIS_URL is not set; set it to redis://host:6379/0, or use `oncue up`")
        return self.redis_url

    @property
    def store_url(self) -> str:
        """Where large results go, as a URL."""
        return self.store or f"file://{self.data.absolute() / 'store'}"

    @property
    def base_url(self) -> str:
        """Where the API answers, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.url or f"http://{host}:{self.port}").rstrip("/")


def variable(field_name: str) -> str:
    """The environment variable of a field: "lease_s" -> "ONCUE_LEASE"."""
    return PREFIX + field_name.removesuffix("_s").upper()


def secret(name: str) -> str | None:
    """Return the value of ONCUE_SECRET_<name>; None when it is unset or empty."""
    return os.environ.get(SECRET_PREFIX + name) or None


def connection(name: str) -> str | None:
    """Return the address of a connection that queue sources name: "main" -> ONCUE_CONNECTION_MAIN; None when it is not set.

    amqp://…, redis://…, or Kafka's bootstrap servers "host:9092,host:9092?security.protocol=sasl_ssl&…".
    """
    return os.environ.get(connection_variable(name)) or None


def connection_variable(name: str) -> str:
    """The environment variable of a connection: letters in capitals, whatever is no letter or digit as "_"."""
    return CONNECTION_PREFIX + "".join(each if each.isalnum() else "_" for each in name).upper()


def process_environment(settings: Settings) -> dict[str, str]:
    """This process's environment with `settings` in it."""
    return {**os.environ, **settings.environment()}


def _refuse_misspelt_names() -> None:
    known = [variable(name) for name in Settings.model_fields]
    for name in unknown_names():
        # Far-off names are left alone: another program may have set them.
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.85):
            raise SettingsError(f"unknown setting {name}; did you mean {near[0]}?")


def unknown_names() -> list[str]:
    """Return the variables of the environment that begin like a setting and are none."""
    known = {variable(name) for name in Settings.model_fields}
    return sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX) and not name.startswith((SECRET_PREFIX, CONNECTION_PREFIX)) and name not in known
    )


def _in_words(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = str(first["loc"][0])
    field = next(name for name in Settings.model_fields if place in (name, variable(name)))
    cure = misfits.cure(first, " s" if field.endswith("_s") else "")
    value = "…" if field in _SECRET else first["input"]
    return f"{variable(field)}={value}: {cure}"


def _written(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
