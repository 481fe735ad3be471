"""How a function runs: the one table of defaults with their units, and how an author writes them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from runtime.authoring.declared import Declared, SecretName, SecretNames, listed, named
from runtime.authoring.quantities import seconds, size_in_bytes


def _exception_name(value: Any) -> Any:
    return value.__name__ if isinstance(value, type) and issubclass(value, BaseException) else value


#: Exceptions by their class's name; an author may give the classes.
ExceptionNames = Annotated[tuple[Annotated[str, BeforeValidator(_exception_name)], ...], BeforeValidator(listed)]


class FunctionOptions(Declared):
    """How a function runs. The one table of defaults, with units."""

    #: tries after the first one
    retries: Annotated[int, Field(ge=0, le=100)] = 3
    #: pause before the first retry, its ceiling, its growth, and the share of it that is random
    backoff_min_s: Annotated[float, Field(ge=0, le=86400)] = 1.0
    backoff_max_s: Annotated[float, Field(ge=0, le=7 * 86400)] = 600.0
    backoff_factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    backoff_jitter: Annotated[float, Field(ge=0, le=1)] = 0.1
    #: names of exceptions: only these are retried (empty: all), these never are
    retry_on: ExceptionNames = ()
    give_up_on: ExceptionNames = ()
    #: wall-clock seconds an attempt may take before its child is killed
    timeout_s: Annotated[float, Field(gt=0, le=86400)] = 30.0
    #: memory a child may take, in bytes
    memory_bytes: Annotated[int, Field(ge=64 * 10**6)] = 512 * 10**6
    #: the queue that carries its invocations
    queue: Annotated[str, AfterValidator(named(r"[a-z][a-z0-9_]{0,31}", "media"))] = "default"
    #: seconds a result answers equal invocations; None: never
    cache_s: float | None = None
    #: seconds a result is kept
    result_ttl_s: Annotated[float, Field(ge=1, le=30 * 86400)] = 86400.0
    #: the largest request body it takes over HTTP; Redis takes 512 MiB in one piece, with all that is said beside
    max_body_bytes: Annotated[int, Field(ge=1, le=2**28)] = 2**20
    #: secrets it cannot work without
    secrets: SecretNames = ()
    #: secrets it can work without: name -> what happens then, in a few words; "{state}" becomes its state folder
    optional_secrets: dict[SecretName, str] = Field(default_factory=dict)

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
