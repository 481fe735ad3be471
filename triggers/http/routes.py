"""Declared routes, compiled: from a method and a path to a function and what the path fills in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from runtime.authoring.triggers import HttpTrigger
from triggers.http.answers import ProblemError, method_not_allowed
from triggers.http.targets import Target


@dataclass(frozen=True, slots=True)
class Route:
    """A declared route and the function behind it."""

    trigger: HttpTrigger
    target: Target

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.trigger.path.split("/"))


class RouteTable:
    """All declared routes. Of two that match a path, the one with the earlier fixed segment wins."""

    def __init__(self, routes: Iterable[Route]) -> None:
        ordered = sorted(routes, key=lambda route: [_is_parameter(segment) for segment in route.segments])
        self._by_length: dict[int, list[Route]] = {}
        for route in ordered:
            self._by_length.setdefault(len(route.segments), []).append(route)

    def find(self, method: str, raw_path: bytes) -> Route | None:
        """Return the route of a method and a path; None when there is none."""
        try:
            return self.match(method, raw_path)[0]
        except ProblemError:
            return None

    def match(self, method: str, raw_path: bytes) -> tuple[Route, dict[str, str]]:
        """Return the route of a request, and its path's parameters; GET serves HEAD.

        Raises:
            ProblemError: 404: no route has this path; 405: none with this method; 400: the path is not UTF-8.
        """
        segments = _read_segments(raw_path)
        wanted = "GET" if method == "HEAD" else method
        allowed: set[str] = set()
        for route in self._by_length.get(len(segments), ()):
            if _fits(route, segments):
                if route.trigger.method == wanted:
                    pairs = zip(route.segments, segments, strict=True)
                    return route, {own[1:-1]: text for own, text in pairs if _is_parameter(own)}
                allowed.add(route.trigger.method)
        if not allowed:
            raise ProblemError(404, "not-found", "nothing is served at this path; GET /v1/functions lists what is")
        raise method_not_allowed("this path", sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{")


def _fits(route: Route, segments: list[str]) -> bool:
    return all(text != "" if _is_parameter(own) else own == text for own, text in zip(route.segments, segments, strict=True))


def _read_segments(raw_path: bytes) -> list[str]:
    # Split before decoding: "%2F" is a character of a value, not the end of a segment.
    try:
        return [unquote_to_bytes(segment).decode() for segment in raw_path.split(b"/")]
    except UnicodeDecodeError:
        raise ProblemError(400, "invalid-path", "the path is not UTF-8") from None
