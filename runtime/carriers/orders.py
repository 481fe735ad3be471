"""Workers listen here for what to cancel: `cancel` publishes the id of a running invocation."""

from __future__ import annotations

import threading
from collections.abc import Callable

import redis
import structlog

from runtime.ledger.keys import ORDERS_PATTERN


class Orders:
    """Calls `cancel(id)` for every order to cancel, on a thread of its own.

    An order that is missed (Redis was away, or the claim was still on its way here) is found at the next renewal of the lease.
    """

    def __init__(self, url: str, cancel: Callable[[str], None]) -> None:
        self._redis = redis.Redis.from_url(url, socket_connect_timeout=5.0, health_check_interval=15, protocol=2)
        self._cancel = cancel
        self._log = structlog.get_logger("oncue.orders")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="orders", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop listening; the thread ends within a second."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]  # redis-py has none
                    subscription.psubscribe(ORDERS_PATTERN)
                    while not self._stopping.is_set():
                        message = subscription.get_message(timeout=1.0)
                        if message is not None:
                            self._cancel(message["data"].decode(errors="replace"))
            except Exception as error:  # noqa: BLE001  # nobody starts this thread again
                self._log.warning("orders to cancel come late while Redis is away", reason=str(error))
                self._stopping.wait(1.0)
