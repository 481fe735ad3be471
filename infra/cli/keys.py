"""`oncue key new`, `ls` and `revoke`: straight on the Redis of this instance, since the API needs a key itself."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from infra.cli.errors import UsageError
from infra.cli.showing import print_facts, print_json, print_table
from infra.embedded import EmbeddedServer
from infra.settings import Settings
from runtime.authoring.quantities import seconds
from triggers.http.access.api_keys import ApiKey
from triggers.http.access.keyring import Keyring


def make_key(name: str, scopes: list[str], expires: str | None, *, as_json: bool) -> None:
    """Make a key and print its token, this one time.

    Raises:
        UsageError: the duration cannot be read.
        KeyRefusedError: the name or a scope cannot be, or the name has two live keys.
    """
    try:
        expires_s = None if expires is None else seconds(expires)
    except ValueError as error:
        raise UsageError(f"--expires: {error}") from error
    with _keyring() as keyring:
        key, token = keyring.new(name, scopes, expires_s)
    if as_json:
        return print_json({**_document(key), "token": token})
    print_facts(
        [("key", token), ("id", key.id), ("name", name), ("scopes", " ".join(key.scopes)), ("expires", _time(key.expires_ms))]
    )
    sys.stderr.write("keep it now: it is not shown again. Send it as: Authorization: Bearer …\n")
    return None


def show_keys(*, as_json: bool) -> None:
    """Print every key, without its secret."""
    with _keyring() as keyring:
        keys = keyring.all()
    if as_json:
        return print_json({"keys": [_document(key) for key in keys]})
    now_ms = time.time() * 1000
    print_table(
        ("ID", "NAME", "SCOPES", "MADE", "EXPIRES"),
        (
            (
                *(key.id, key.name, " ".join(key.scopes), _time(key.created_ms) or ""),
                (_time(key.expires_ms) or "never") + ("" if key.is_live(now_ms) else " (expired)"),
            )
            for key in keys
        ),
    )
    return None


def revoke_key(key_id: str) -> None:
    """Revoke a key: it opens nothing from now on.

    Raises:
        UsageError: there is no such key.
    """
    with _keyring() as keyring:
        if not keyring.revoke(key_id):
            raise UsageError(f"there is no key {key_id!r}; oncue key ls lists them by id")
        left = keyring.all()
    sys.stdout.write(f"revoked {key_id}\n")
    if not left:
        sys.stderr.write("it was the last key: on a loopback address everything is open again\n")


@contextlib.contextmanager
def _keyring() -> Iterator[Keyring]:
    """Reach the keys of this instance; an embedded server that does not run is started for the moment."""
    settings = Settings.load()
    with contextlib.ExitStack() as stack:
        url = settings.redis_url
        if url is None:
            server = EmbeddedServer(settings.data, settings.fsync)
            url = server.find() or stack.enter_context(server).url
        keyring = Keyring(url)
        stack.callback(keyring.close)
        yield keyring


def _document(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": _time(key.created_ms),
        "expires_at": _time(key.expires_ms),
    }


def _time(moment_ms: int | None) -> str | None:
    return None if moment_ms is None else datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="seconds")
