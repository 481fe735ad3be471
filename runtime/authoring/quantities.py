"""Durations, sizes and rates as people write them: "20s", "1h30m", "512MB", "1MiB", "600/m"."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import NamedTuple

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
# KB, MB and GB are powers of ten, KiB, MiB and GiB powers of two (IEC 80000-13).
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*((?:[KMG]I?)?B)", re.IGNORECASE)
_RATE = re.compile(r"([1-9][0-9]{0,8})/(s|m|h|[1-9][0-9]{0,4}s)")
_WINDOWS_S = {"s": 1, "m": 60, "h": 3600}


def seconds(value: str | float | timedelta) -> float:
    """Read a duration: "250ms", "20s", "1h30m", a number of seconds, or a timedelta.

    Raises:
        ValueError: the text is no duration, or the duration is negative.
    """
    if isinstance(value, timedelta):
        total = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        total = float(value) if abs(value) < 1e18 else math.inf
    elif isinstance(value, str) and re.fullmatch(rf"(?:{_DURATION.pattern})+", value.strip()):
        total = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION.findall(value))
    else:
        raise ValueError(f"{value!r} is not a duration; write it like '250ms', '20s', '5m' or '1h30m'")
    if not 0 <= total < math.inf:
        raise ValueError(f"{value!r} is not a duration; it must be finite and not negative")
    return total


def size_in_bytes(value: str | int) -> int:
    """Read a size: "512MB" (10^6), "1MiB" (2^20), or a number of bytes.

    Raises:
        ValueError: the text is no size, or the size is negative.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(float(match[1]) * _BYTES[match[2].upper()])
    raise ValueError(f"{value!r} is not a size; write it like '64KB', '512MB' or '1MiB'")


class Rate(NamedTuple):
    """So many in so many seconds; all of them may come at once."""

    quota: int
    window_s: int


def read_rate(text: str) -> Rate | None:
    """Read "1000/s", "600/m", "100/h" or "5/30s"; "off" is None.

    Raises:
        ValueError: it is written otherwise.
    """
    if text == "off":
        return None
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no rate; write it like 1000/s, 600/m, 100/h or 5/30s, or off")
    return Rate(int(match[1]), _WINDOWS_S.get(match[2]) or int(match[2][:-1]))
