"""A handler's result that is a file: bytes or a path, with its media type and name."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file as a result. It is served in its own media type, under `filename` when that is given."""

    #: the bytes, or a path to a file that the handler wrote; it is read when the handler returns
    content: bytes | Path
    #: "image/jpeg"; guessed from `filename` or the path when left out, else application/octet-stream
    media_type: str = ""
    #: the name a browser saves it under
    filename: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.content, bytearray | memoryview):
            object.__setattr__(self, "content", bytes(self.content))
        if not isinstance(self.content, bytes | Path):
            raise TypeError(f"Artifact content is bytes or a pathlib.Path, not {type(self.content).__name__}")
        if not self.media_type:
            name = self.filename or (self.content.name if isinstance(self.content, Path) else "")
            object.__setattr__(self, "media_type", mimetypes.guess_type(name)[0] or "application/octet-stream")
        for attribute in ("media_type", "filename"):
            value = getattr(self, attribute)
            if value is not None and not value.isprintable():
                raise ValueError(f"Artifact {attribute} {value!r} holds control characters; remove them")

    def read(self) -> bytes:
        """Return the bytes, reading the file when the content is a path."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()
