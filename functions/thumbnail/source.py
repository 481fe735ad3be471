"""Opens an image without trusting it: only the header is read before its format and size are judged."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import struct
import warnings
from collections.abc import Iterator

from PIL import Image, UnidentifiedImageError

from runtime import GiveUp

#: 100 MB as RGBA
MAX_PIXELS = 25_000_000
MAX_START_OF_FRAME = 200
#: pixels of all frames of an animation together
MAX_ANIMATION_PIXELS = 4 * MAX_PIXELS
#: segments of a JPEG's header, chunks of a PNG: Pillow reads them one by one in Python, a few microseconds each
MAX_PARTS = 10_000
#: passes over a progressive JPEG, each of which takes as long as decoding a plain one; encoders write about ten
MAX_SCANS = 100

#: plugins that Pillow would otherwise find by importing every plugin it has
PLUGINS = {"WEBP": "PIL.WebPImagePlugin", "AVIF": "PIL.AvifImagePlugin"}
#: what Pillow's decoders raise for broken data
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError),
    *(ArithmeticError, AssertionError, RuntimeError, struct.error),
)

_MARKER = re.compile(rb"(?:[^\xff]|\xff{1,99}\0){0,99}\xff{1,99}([\x01-\xfe])")
_START_OF_FRAME = bytes({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_BARE = bytes((0x01, *range(0xD0, 0xDA)))  # markers without a length


@contextlib.contextmanager
def pillow_at_work() -> Iterator[None]:
    """Keep to itself what Pillow warns of, which is metadata that it passes by.

    Raises:
        GiveUp: the image, or one of its frames, is too large.
    """
    # Pillow warns beyond this and refuses beyond twice this, also where a later frame of a GIF is larger than the first.
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS // 2
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except Image.DecompressionBombError as error:
        raise GiveUp(f"{str(error).partition(',')[0]}; send a smaller image") from error
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def open_image(data: bytes) -> Image.Image:
    """Return the image with its header read and nothing decoded; its `format` is one of the six taken here.

    Raises:
        GiveUp: no image of a known format, or broken.
    """
    format = sniff(data)
    if format in ("JPEG", "PNG"):
        (_check_jpeg if format == "JPEG" else _check_png)(data)
    try:
        load_plugin(format)
        image = Image.open(io.BytesIO(data), formats=[format])
    except ImportError as error:
        raise GiveUp("HEIC images need pillow-heif, which is not installed; install it or send JPEG") from error
    except BROKEN as error:
        reason = "its header is broken" if isinstance(error, UnidentifiedImageError) else error
        raise GiveUp(f"the {format} image cannot be read ({reason}); send an intact file") from error
    image.format = format  # Pillow says MPO for a JPEG that carries a second picture
    return image


def _check_jpeg(data: bytes) -> None:
    """Walk to the pixels of a JPEG (ITU T.81, annex B), and refuse what takes a decoder long."""
    at, components, is_plain = 2, b"", False
    for _ in range(MAX_PARTS):
        found = _MARKER.match(data, at)
        if found is None:
            raise GiveUp("the JPEG image cannot be read (its header is broken); send an intact file")
        marker, at = found[1], found.end()
        if marker in _START_OF_FRAME:
            if marker > b"\xc2":
                raise GiveUp("the JPEG image is lossless or arithmetic coded, which few programs can read; save it anew")
            components, is_plain = data[at + 7 : at + 8], marker in b"\xc0\xc1"
        if marker == b"\xda":
            in_one_scan = is_plain and data[at + 2 : at + 3] == components
            if not in_one_scan and data.count(b"\xff\xda", at) > MAX_SCANS:
                raise GiveUp(f"the JPEG image has more than {MAX_SCANS} scans; save it anew")
            return
        if marker not in _BARE:
            at += int.from_bytes(data[at : at + 2], "big")
    raise GiveUp(f"the JPEG image has more than {MAX_PARTS:,} parts; save it anew")


def _check_png(data: bytes) -> None:
    at = 8
    for _ in range(MAX_PARTS):
        if at >= len(data) or data[at + 4 : at + 8] == b"IEND":
            return
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    raise GiveUp(f"the PNG image has more than {MAX_PARTS:,} parts; save it anew")


def frames(image: Image.Image) -> Iterator[Image.Image]:
    """Yield each frame of an animation, or the one picture; the same object is reused for all.

    Raises:
        GiveUp: the animation is too long.
    """
    for number in range(MAX_START_OF_FRAME + 1):
        try:
            image.seek(number)
        except EOFError:
            return
        if number == MAX_START_OF_FRAME or (number + 1) * image.width * image.height > MAX_ANIMATION_PIXELS:
            raise GiveUp(
                f"the animation is longer than {MAX_START_OF_FRAME} frames or {MAX_ANIMATION_PIXELS:,} pixels; "
                "shorten it, or send animated=false for its first frame"
            )
        yield image


def load_plugin(format: str) -> None:
    """Make Pillow able to open and save a format, importing nothing else."""
    if format == "HEIF":
        pillow_heif = importlib.import_module("pillow_heif")
        pillow_heif.register_heif_opener()
        pillow_heif.options.DECODE_THREADS = 1  # no slower, and threads would keep 150 MB for themselves
    elif format in PLUGINS:
        importlib.import_module(PLUGINS[format])


def sniff(data: bytes) -> str:
    """Name the format by its first bytes, whatever the sender called it."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":  # ISO 14496-12: the brands of the file follow
        brands = data[8 : min(int.from_bytes(data[:4], "big"), 64)]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        if any(brand in brands for brand in (b"heic", b"heix", b"heim", b"heis", b"mif1")):
            return "HEIF"
    what = f"starts with {data[:8]!r}" if data else "is empty"
    raise GiveUp(f"the image {what}, which is none of JPEG, PNG, WebP, GIF, AVIF, HEIC; send one of these")
