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
        ("redis+pubsub://main/order?", {"lossy": True}, "where they belong to it, write %3F and %23"),
        ("rabbitmq://main/orders#1", {}, r"orders#1' ends its name at \? or #"),
        ("rabbitmq://main/a%20b", {"dead_letter": "a b"}, "dead_letter='a b' is the source itself"),
        ("redis://main/orders", {"dead_letter": "orders"}, "dead_letter='orders' is the source itself"),
        ("rabbitmq://main/orders", {"prefetch": 20, "batch": 100}, "prefetch=20 is below batch=100.*write at least 200"),
        ("rabbitmq://main/orders", {"queue_type": "classic", "delivery_limit": 5}, "classic queues have no delivery limit"),
        ("redis://user:password@host/orders", {}, "hosts and passwords belong in the environment"),
    ],
)
def test_a_source_that_cannot_work(url: str, options: dict[str, object], words: str) -> None:
    """The option, what it is and what it takes are named."""
    with pytest.raises(DeclarationError, match=words):
        queue(url, **options)
