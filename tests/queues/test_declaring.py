"""What `@queue` is refused for where it is written."""

from __future__ import annotations

import pytest

from runtime import queue
from runtime.authoring.errors import DeclarationError


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("redis://main/orders", {"claim_idle": "1ms"}, r"claim_idle=.*the least is 0\.1"),
        ("redis://main/orders", {"claim_idle": "2d"}, "claim_idle=.*the most is 86400"),
        ("redis://main/orders", {"window": "1h", "batch": 10}, "window=.*the most is 600"),
        ("redis://main/orders", {"batch": 0}, "batch=0.*the least is 1"),
        ("redis://main/orders", {"pause_above": 0}, "pause_above=0.*the least is 1"),
        ("rabbitmq://main/orders", {"prefetch": 100_000}, "prefetch=100000.*the most is 65535"),
        ("redis+pubsub://main/orders", {}, "say lossy=True"),
        ("kafka://main/orders", {"bind": ("a", "b")}, "does not take bind"),
        ("sqs://main/orders", {}, "unknown scheme"),
        ("redis://user:password@host/orders", {}, "hosts and passwords belong in the environment"),
    ],
)
def test_a_source_that_cannot_work(url: str, options: dict[str, object], words: str) -> None:
    """The option, what it is and what it takes are named."""
    with pytest.raises(DeclarationError, match=words):
        queue(url, **options)
