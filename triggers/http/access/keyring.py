"""The keys in Redis: kept for the command line, followed by the web process.

oncue:keys           hash     id -> JSON of the key, without its secret
oncue:keys:changed   channel  a message whenever the hash changes
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
from redis.exceptions import RedisError

from runtime.ledger.following import Follower
from runtime.ledger.keys import API_KEYS, API_KEYS_CHANGED
from runtime.ledger.reads import Reads
from runtime.ledger.wire import LedgerUnavailableError, client, unavailable
from triggers.http.access.api_keys import ApiKey, Minted, mint

#: Seconds between two looks at the keys when no notification came: how long a revoked key may live at most.
POLL_S = 2.0

_read = msgspec.json.Decoder(ApiKey).decode


class Keyring:
    """Makes, lists and revokes keys. Blocking. Every method raises `LedgerUnavailableError` while Redis is away."""

    def __init__(self, url: str) -> None:
        self._redis = client(url)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def all(self) -> list[ApiKey]:
        """Return every key, expired ones too, the oldest first."""
        with _meaning():
            documents: Any = self._redis.hvals(API_KEYS)
        return sorted(map(_read, documents), key=lambda key: key.created_ms)

    def new(self, name: str, scopes: list[str], expires_s: float | None) -> Minted:
        """Make a key and keep it; the token is returned here and nowhere else. Raises as `mint`, too."""
        minted = mint(name, scopes, expires_s, self.all())
        with _meaning(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(API_KEYS, minted.key.id, msgspec.json.encode(minted.key))
            pipeline.publish(API_KEYS_CHANGED, minted.key.id)
            pipeline.execute()
        return minted

    def revoke(self, key_id: str) -> bool:
        """Delete a key; False when there is none."""
        with _meaning(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hdel(API_KEYS, key_id)
            pipeline.publish(API_KEYS_CHANGED, key_id)
            deleted, _ = pipeline.execute()
        return bool(deleted)


@contextlib.contextmanager
def _meaning() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise unavailable(error) or error from error


class KeyFollower:
    """Keeps the keys at hand in a web process: by notification, and by polling as a fallback. For the event loop."""

    def __init__(self, url: str, reads: Reads) -> None:
        self._reads = reads
        self._follower = Follower(url, API_KEYS_CHANGED, self._refresh, poll_s=POLL_S)
        #: by id; None until they have been read
        self.keys: dict[str, ApiKey] | None = None

    async def start(self) -> None:
        """Read the keys once (unless Redis is away), then follow them."""
        with contextlib.suppress(LedgerUnavailableError):
            await self._refresh()
        self._follower.start()

    async def close(self) -> None:
        """Stop following."""
        await self._follower.close()

    async def _refresh(self) -> None:
        documents = await self._reads.do("HVALS", API_KEYS)
        self.keys = {key.id: key for key in map(_read, documents)}
