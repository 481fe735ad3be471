"""Thumbnails: an image, as bytes or by URL, in the size, fit and format asked for."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Literal, get_args

from PIL import ImageColor

from runtime import Artifact, Context, GiveUp, function, http, on

from .fetch import fetch
from .render import Box, Style, thumbnails
from .source import open_image, pillow_at_work

MAX_IMAGE_BYTES = 25_000_000
MAX_SIDE = 4096
MAX_SIZES = 20

Fit = Literal["contain", "cover", "pad", "fit", "fill"]
Format = Literal["jpeg", "png", "webp", "gif", "avif"]
_SYNONYMS = {"fit": "contain", "fill": "cover"}


@function(
    queue="media",
    timeout="60s",
    memory="1GB",
    max_body="25MB",
    cache="1h",
    optional_secrets={"THUMBNAIL_ALLOWED_HOSTS": "only public addresses are fetched"},
)
@http("POST /hooks/thumbnail")
@on("image.uploaded")
def thumbnail(
    image: bytes | None = None,
    url: str | None = None,
    width: int | None = None,
    height: int | None = None,
    fit: Fit = "contain",
    format: Format | None = None,
    quality: int = 82,
    background: str = "white",
    focus_x: float = 0.5,
    focus_y: float = 0.5,
    animated: bool = True,
    sizes: list[str] | None = None,
    *,
    ctx: Context,
) -> Artifact:
    """Scale an image to `width` × `height` pixels; 256 wide when neither is given.

    `fit`: "contain" (also "fit") keeps all of the image and never enlarges it, "cover" (also "fill") crops it around
    the focus to exactly that size, "pad" fills up with `background`. Without `format` the image keeps its own; HEIC
    becomes JPEG. `sizes`, like ["64x64", "640", "x320"], makes several at once and returns them as a zip.
    """
    _check(width=(width, MAX_SIDE), height=(height, MAX_SIDE), quality=(quality, 100))
    for name, value, known in (("fit", fit, get_args(Fit)), ("format", format or "jpeg", get_args(Format))):
        if value not in known:
            raise GiveUp(f"{name}={value!r} is not known; use one of {', '.join(known)}")
    if not (0 <= focus_x <= 1 and 0 <= focus_y <= 1):
        raise GiveUp(f"the focus ({focus_x}, {focus_y}) is outside of the image; use shares from 0 to 1")
    if (image is None) == (url is None):
        raise GiveUp(f"{'neither image nor url is' if image is None else 'both image and url are'} given; send one of them")
    boxes = {size: _box(size) for size in sizes or ()} or {"": (width, height) if width or height else (256, None)}
    if len(boxes) > MAX_SIZES:
        raise GiveUp(f"{len(boxes)} sizes are too many for one run; send at most {MAX_SIZES}")
    try:
        colour = ImageColor.getcolor(background, "RGBA")
    except ValueError as error:
        raise GiveUp(f"background={background[:40]!r} is no colour; write 'white', '#f4f4f4' or '#ffffff00'") from error

    if url is not None:
        allowed = (ctx.secret("THUMBNAIL_ALLOWED_HOSTS", "") or "").replace(",", " ").split()
        image = fetch(url, max_bytes=MAX_IMAGE_BYTES, allowed_hosts=frozenset(allowed))
    with pillow_at_work():
        source = open_image(image or b"")
        target = (format or ("jpeg" if source.format == "HEIF" else source.format)).upper()
        style = Style(_SYNONYMS.get(fit, fit), target, quality, colour, (focus_x, focus_y), animated)
        made = dict(zip(boxes, thumbnails(source, list(boxes.values()), style), strict=True))
    ctx.log.info("%s %d×%d to %s, %d bytes", source.format, *source.size, target, sum(map(len, made.values())))

    suffix = target.lower().replace("jpeg", "jpg")
    if not sizes:
        return Artifact(made[""], f"image/{target.lower()}", f"thumbnail.{suffix}")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for size, content in made.items():
            file.writestr(zipfile.ZipInfo(f"{size}.{suffix}"), content)  # its date is fixed: same input, same bytes
    return Artifact(archive.getvalue(), "application/zip", "thumbnails.zip")


def _box(size: str) -> Box:
    """Read "640x360", "640" (wide) or "x360" (high)."""
    match = re.fullmatch(r"([0-9]{1,5})?(?:x([0-9]{1,5}))?", size)
    if not size or match is None:
        raise GiveUp(f"{size[:40]!r} is no size; write '640x360', '640' (wide) or 'x360' (high)")
    width, height = (int(side) if side else None for side in match.groups())
    _check(width=(width, MAX_SIDE), height=(height, MAX_SIDE))
    return width, height


def _check(**values: tuple[int | None, int]) -> None:
    for name, (value, most) in values.items():
        if value is not None and not 1 <= value <= most:
            raise GiveUp(f"{name}={value} is out of range; use 1 to {most}")
