"""Options of a route's signature scheme: what is missing or out of place is refused at declaration, with its cure."""

from __future__ import annotations

import re
from typing import Any

import pytest

from runtime.authoring.decorators import ATTRIBUTE, http
from runtime.authoring.errors import DeclarationError
from runtime.authoring.routes import Hmac
from runtime.authoring.triggers import HttpTrigger

TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders"


def declared(**options: Any) -> HttpTrigger:
    """The trigger that the options make."""

    @http("POST /a", **options)
    def handler() -> None: ...

    (trigger,) = getattr(handler, ATTRIBUTE).triggers
    assert isinstance(trigger, HttpTrigger)
    return HttpTrigger.model_validate(trigger.model_dump(mode="json"))  # as it travels in the manifest


@pytest.mark.parametrize(
    "options",
    [
        {"verify": "sns", "topics": [TOPIC, TOPIC + ".fifo"], "confirm": True},
        {"verify": "sns", "topics": ["arn:aws-cn:sns:cn-north-1:123456789012:x"]},
        {"verify": "api_key", "secret": "S", "header": "X-Own-Key"},
        {
            "verify": Hmac(header="X-Sig", delivery="X-Id", algorithm="sha512", encoding="base64", prefix="v1="),
            "secret": ["A", "B"],
        },
        {"verify": "cloudevents"},
        {"verify": "cloudevents", "secret": "TOKEN"},
    ],
)
def test_options_travel_in_the_manifest(options: dict[str, Any]) -> None:
    """What the author said is what the edge reads."""
    trigger = declared(**options)
    assert trigger.verify == options["verify"]
    assert (trigger.confirm, trigger.header) == (options.get("confirm", False), options.get("header"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"verify": "sns"}, "needs topics=['arn:aws:sns:…']"),
        ({"verify": "sns", "topics": [TOPIC], "secret": "S"}, "takes no secret"),
        ({"verify": "sns", "topics": ["orders"]}, "'orders'"),
        ({"verify": "sns", "topics": [TOPIC + "\n"]}, "topics"),
        ({"verify": "github", "secret": "S", "topics": [TOPIC]}, "topics= belongs to verify='sns'"),
        ({"verify": "github", "secret": "S", "confirm": True}, "confirm= belongs to verify='sns'"),
        ({"header": "X-Own"}, "header= belongs to verify='api_key'"),
        ({"verify": "api_key", "secret": "S", "header": "X Own"}, "'X Own' is no name of a header"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], reason: str) -> None:
    """One sentence says which option, and what to do."""
    with pytest.raises(DeclarationError, match=re.escape(reason)):
        declared(**options)


@pytest.mark.parametrize("options", [{"header": ""}, {"header": "X:Y"}, {"header": "X-S", "delivery": "é"}])
def test_hmac_with_a_header_that_is_none(options: dict[str, str]) -> None:
    """A name that no request can have is refused."""
    with pytest.raises(ValueError, match="no name of a header"):
        Hmac(**options)
