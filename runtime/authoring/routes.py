"""Declared routes: `@http("POST /hooks/{customer}", verify="github", secret="GITHUB_SECRET")`, checked."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from runtime.authoring.declared import Declared, JsonObject, SecretNames, When

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
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # a token of RFC 9110, section 5.6.2
_TOPIC = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,261}$"


class Hmac(Declared):
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


class HttpTrigger(Declared):
    """A declared route: `@http("POST /hooks/thumbnail")`."""

    kind: Literal["http"] = "http"
    method: str
    #: "/hooks/{customer}/thumbnail"; a `{name}` segment fills the parameter of that name
    path: str
    #: a scheme of `SCHEMES`, or an `Hmac`
    verify: str | Hmac | None = None
    #: names of the secrets that may have signed; any of them may match (rotation)
    secret: SecretNames = ()
    #: seconds a signed timestamp may be off, for schemes that sign one
    tolerance_s: float = 300.0
    when: When | None = None
    #: "accepted": answer 202 at once; "result": wait for the result, then fall back to 202
    respond: Literal["accepted", "result"] = "accepted"
    #: a fixed answer instead: {"status": 200, "body": "ok", "headers": {...}}
    response: JsonObject | None = None
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

    @field_validator("response")
    @classmethod
    def _can_be_answered(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for name in value or ():
            if name not in ("status", "body", "headers"):
                raise ValueError(f"it has {name!r}; an answer has 'status', 'body' and 'headers'")
        status, headers = (value or {}).get("status", 200), (value or {}).get("headers") or {}
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"{status!r} is no status of an answer; use 200 to 599")
        if not isinstance(headers, dict):
            raise ValueError(f"{headers!r} are no headers; write them like {{'X-Name': 'value'}}")  # noqa: TRY004  # pydantic takes a ValueError
        for name, text in headers.items():
            _header_name(name)
            if not isinstance(text, str) or not text.isprintable() or not text.isascii():
                raise ValueError(f"the header {name!r} is {text!r}; use printable ASCII")
        return value

    @model_validator(mode="after")
    def _scheme_has_its_options(self) -> HttpTrigger:
        if self.verify is not None and not self.secret and self.verify not in ("sns", "cloudevents"):
            raise ValueError(f"verify={self.verify!r} needs secret='NAME' (or a list of names, for rotation)")
        if self.verify == "sns" and not self.topics:
            raise ValueError("verify='sns' needs topics=['arn:aws:sns:…']: messages of anybody's topic carry a valid signature")
        if self.verify == "sns" and self.secret:
            raise ValueError("verify='sns' takes no secret: messages are verified by Amazon's certificate; leave it out")
        if self.verify is None and self.secret:
            raise ValueError(f"secret={self.secret[0]!r} verifies nothing by itself; say how it signs, like verify='github'")
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


def _header_name(value: str) -> str:
    if not _HEADER.fullmatch(value):
        raise ValueError(f"{value!r} is no name of a header; write it like 'X-Signature'")
    return value
