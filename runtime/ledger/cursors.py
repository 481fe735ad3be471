"""Cursors of lists that are ordered by time: where a page ended, as an opaque text.

Members of one batch share a millisecond, so a position is the time and the member's name.
"""

from __future__ import annotations

import base64

import msgspec

#: (ms since 1970, member)
Position = tuple[int, str]


def write_cursor(position: Position | None) -> str | None:
    """Return a position as a cursor; None when there is none."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def read_cursor(cursor: str) -> Position:
    """Return the position of a cursor.

    Raises:
        ValueError: the cursor is none of ours.
    """
    try:
        position: Position = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=Position)
    except ValueError as error:
        raise ValueError(f"{cursor!r} is no cursor of this list; leave it out to start anew") from error
    return position
