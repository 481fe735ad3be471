"""Both sides of the ledger over a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.embedded import EmbeddedServer
from tests.ledger.book import Book


@pytest.fixture
def open_book(tmp_path: Path) -> Iterator[Callable[..., Book]]:
    """`open_book(url, lease_s=…)` opens a book until the test ends."""
    opened: list[Book] = []

    def make(url: str, **options: Any) -> Book:
        opened.append(Book(url, tmp_path / "results", **options))
        return opened[-1]

    yield make
    for book in opened:
        book.close()


@pytest.fixture
def book(open_book: Callable[..., Book], redis_url: str) -> Book:
    """A book over the shared, emptied server."""
    return open_book(redis_url)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of this test's own, for it to starve and to kill."""
    with EmbeddedServer(tmp_path / "data") as server:
        yield server
