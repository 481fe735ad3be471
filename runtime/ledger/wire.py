"""Connections to Redis that send a command exactly once.

redis-py repeats commands after a lost reply by itself, also those that are not idempotent. Here a lost
connection is an error at once, and who sent the command decides what to repeat.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from runtime.authoring.errors import OnCueError
from runtime.ledger.scripts import script

#: Seconds a reply may take before the connection counts as dead.
REPLY_TIMEOUT_S = 10.0

#: Seconds for which Redis holds the command of a `Bell`.
BELL_S = 5

Command = Sequence[str | bytes | int | float]

#: What a lost connection raises; RuntimeError is uvloop's, for a write to a connection that was reset a moment ago.
LOST = (redis.ConnectionError, redis.TimeoutError, OSError, RuntimeError)


class LedgerUnavailableError(OnCueError):
    """Redis cannot be reached, or refuses to write (out of memory, read-only, loading). Safe to try again."""


#: Error codes with which Redis says "not now" to any write; UNBLOCKED ends a blocking command when it becomes a replica.
_NOT_NOW = ("OOM", "READONLY", "LOADING", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS", "UNBLOCKED")


def unavailable(error: Exception) -> LedgerUnavailableError | None:
    """Return the error to raise instead when `error` means "not now", else None."""
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
        return LedgerUnavailableError(f"Redis is away: {error}")
    text = str(error)
    # Scripts carry the code of the command that failed inside their own message.
    if isinstance(error, redis.RedisError) and any(f" {code} " in f" {text}" for code in _NOT_NOW):
        return LedgerUnavailableError(f"Redis refuses to write: {text.splitlines()[0]}")
    if isinstance(error, redis.OutOfMemoryError | redis.ReadOnlyError | redis.BusyLoadingError):
        return LedgerUnavailableError(f"Redis refuses to write: {text.splitlines()[0] if text else type(error).__name__}")
    return None


def client(url: str, **options: Any) -> redis.Redis:
    """Return an ordinary redis-py client, for what is rare and may be repeated. It opens no connection yet."""
    return redis.Redis.from_url(url, socket_timeout=REPLY_TIMEOUT_S, retry=Retry(NoBackoff(), 1), **options)


def describe(url: str) -> str:
    """Return a Redis URL without its password, for people."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Wire:
    """One blocking connection, used by one thread at a time; opened on first use and again after an error."""

    def __init__(self, url: str, *, reply_timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self._pool = redis.ConnectionPool.from_url(
            url, socket_timeout=reply_timeout_s, socket_connect_timeout=5.0, retry=Retry(NoBackoff(), 0), protocol=2
        )
        self._connection: Any = None
        self._lock = threading.Lock()

    def send(self, *commands: Command) -> list[Any]:
        """Send commands in one write and return their replies, raw; an error reply is an item of the list.

        Raises:
            LedgerUnavailableError: the connection failed; whether the commands ran is unknown.
        """
        with self._lock:
            try:
                self._connect()
                self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
                replies = [self._read() for _ in commands]
                if has_moved(replies):
                    self._drop()
                return replies
            except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
                self._drop()
                raise LedgerUnavailableError(f"Redis is away: {error}") from error

    def run(self, name: str, key: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """Run a script once per argument list, all in one write; return the replies.

        Raises:
            LedgerUnavailableError: Redis is away or refuses to write.
            redis.ResponseError: the script failed, which is a defect.
        """
        lua = script(name)
        replies = self.send(*(("EVALSHA", lua.sha, 1, key, *arguments) for arguments in calls))
        if any(isinstance(reply, NoScriptError) for reply in replies):
            self.send(("SCRIPT", "LOAD", lua.source))
            missed = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            again = self.send(*(("EVALSHA", lua.sha, 1, key, *calls[n]) for n in missed))
            for n, reply in zip(missed, again, strict=True):
                replies[n] = reply
        return raise_errors(replies)

    def close(self) -> None:
        """Close the connection; a reader blocked on it wakes with an error."""
        self._drop()

    def _connect(self) -> None:
        if self._connection is None:
            self._connection = self._pool.make_connection()
            self._connection.connect()

    def _read(self) -> Any:
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


class Bell(Wire):
    """Waits for an element of a list, for as long as it is told to and hardly a millisecond longer.

    Redis ends a blocking command up to 100 ms after its timeout: it looks ten times a second (`hz`, redis.conf). So the command
    has a timeout of its own, and stays on its way when a wait is over.
    """

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url)
        self._key = key
        #: when the command that is on its way must have been answered, monotonic seconds; 0: none is
        self._answer_by = 0.0

    def wait(self, timeout_s: float) -> None:
        """Return when the list had an element, which is taken out, or after `timeout_s` seconds.

        Raises:
            LedgerUnavailableError: Redis is away, or refuses to write.
        """
        reply = None
        with self._lock:
            try:
                self._connect()
                if not self._answer_by:
                    self._connection.send_packed_command(
                        self._connection.pack_command("BLPOP", self._key, BELL_S), check_health=False
                    )
                    self._answer_by = time.monotonic() + BELL_S + REPLY_TIMEOUT_S
                if self._connection.can_read(timeout_s):
                    reply = self._read()
                    self._answer_by = 0.0
                    if has_moved([reply]):
                        self._drop()
            except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
                self._drop()
                raise LedgerUnavailableError(f"Redis is away: {error}") from error
            if 0 < self._answer_by < time.monotonic():
                self._drop()
                raise LedgerUnavailableError("Redis is away: it has not answered a blocking command")
        raise_errors([reply])

    def _drop(self) -> None:
        super()._drop()
        self._answer_by = 0.0


def has_moved(replies: list[Any]) -> bool:
    """Tell whether the server has become a replica: after a failover the same address may lead to its successor."""
    return any(isinstance(reply, redis.ReadOnlyError) for reply in replies)


def raise_errors(replies: list[Any]) -> list[Any]:
    """Return the replies, or raise the first error among them as what it means."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise unavailable(reply) or reply
    return replies


class AsyncWire:
    """One connection on the event loop, used by one task at a time; opened on first use and again after an error."""

    def __init__(self, url: str, *, reply_timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self._pool = redis.asyncio.ConnectionPool.from_url(
            url, socket_timeout=reply_timeout_s, socket_connect_timeout=5.0, retry=None, protocol=2
        )
        self._connection: Any = None

    async def send(self, *commands: Command) -> list[Any]:
        """As `Wire.send`."""
        try:
            if self._connection is None:
                connection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
                await connection.connect()
                self._connection = connection
            connection = self._connection
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            replies = [await self._read() for _ in commands]
            if has_moved(replies):
                await self.close()
            return replies
        except BaseException as error:
            # A cancelled read leaves replies on the wire: the connection cannot be used again.
            await self.close()
            if isinstance(error, LOST):
                raise LedgerUnavailableError(f"Redis is away: {error}") from error
            raise

    async def run(self, name: str, key: str, arguments: Sequence[Any]) -> Any:
        """Run a script and return its reply. Raises as `Wire.run`."""
        lua = script(name)
        (reply,) = await self.send(("EVALSHA", lua.sha, 1, key, *arguments))
        if isinstance(reply, NoScriptError):
            _, reply = await self.send(("SCRIPT", "LOAD", lua.source), ("EVALSHA", lua.sha, 1, key, *arguments))
        return raise_errors([reply])[0]

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _read(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error
