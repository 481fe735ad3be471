"""Opens an image without trusting it: only the header is read before its format and size are judged."""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Iterator

from PIL import Image

from runtime import GiveUp

#: 100 MB as RGBA
MAX_PIXELS = 25_000_000
MAX_FRAMES = 200
#: pixels of all frames of an animation together
MAX_ANIMATION_PIXELS = 4 * MAX_PIXELS
# Pillow's own limit only warns up to twice its value; ours is checked below, before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

#: plugins that Pillow would otherwise find by importing every plugin it has
PLUGINS = {"WEBP": "PIL.WebPImagePlugin", "AVIF": "PIL.AvifImagePlugin"}
#: what Pillow's decoders raise for broken data
BROKEN = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, RuntimeError, struct.error)


def open_image(data: bytes) -> Image.Image:
    """Return the image with its header read and nothing decoded; its `format` is one of the six taken here.

    Raises:
        GiveUp: no image of a known format, broken, or too large.
    """
    format = sniff(data)
    try:
        load_plugin(format)
        image = Image.open(io.BytesIO(data), formats=[format])
    except ImportError as error:
        raise GiveUp("HEIC images need pillow-heif, which is not installed; install it or send JPEG") from error
    except BROKEN as error:
        raise GiveUp(f"the {format} image cannot be read ({error}); send an intact file") from error
    image.format = format  # Pillow says MPO for a JPEG that carries a second picture
    if image.width * image.height > MAX_PIXELS:
        raise GiveUp(f"the image has {image.width}×{image.height} pixels; send at most {MAX_PIXELS:,} in all")
    return image


def frames(image: Image.Image) -> Iterator[Image.Image]:
    """Yield each frame of an animation, or the one picture; the same object is reused for all.

    Raises:
        GiveUp: the animation is too long.
    """
    for number in range(MAX_FRAMES + 1):
        try:
            image.seek(number)
        except EOFError:
            return
        if number == MAX_FRAMES or (number + 1) * image.width * image.height > MAX_ANIMATION_PIXELS:
            raise GiveUp(
                f"the animation is longer than {MAX_FRAMES} frames or {MAX_ANIMATION_PIXELS:,} pixels; "
                "shorten it, or send animated=false for its first frame"
            )
        yield image


def load_plugin(format: str) -> None:
    """Make Pillow able to open and save a format, importing nothing else."""
    if format == "HEIF":
        importlib.import_module("pillow_heif").register_heif_opener()
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
