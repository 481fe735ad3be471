"""Renders thumbnails of an opened image: decode as little as will do, scale, colour, turn, place, encode."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.Image import Resampling, Transpose

from runtime import GiveUp

from .source import BROKEN, frames, load_plugin

SAVE_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"progressive": True}, "PNG": {"optimize": True}, "AVIF": {"speed": 8}}

#: pixels of all results together
MAX_RESULT_PIXELS = 4096 * 4096
#: pixels that are converted at once, where an image has to be converted before it is scaled
STRIP_PIXELS = 1_000_000

#: what the least of the formats can hold: GIF has 16 bits, and counts hundredths of a second
MAX_DURATION_MS, MAX_LOOPS = 655_350, 65_535

ORIENTATION = 0x0112  # EXIF 2.32, table 4
#: EXIF orientation -> how to turn the decoded image, and where a point of the turned image was before
TURNS: dict[int, tuple[Transpose, Callable[[float, float], tuple[float, float]]]] = {
    2: (Transpose.FLIP_LEFT_RIGHT, lambda x, y: (1 - x, y)),
    3: (Transpose.ROTATE_180, lambda x, y: (1 - x, 1 - y)),
    4: (Transpose.FLIP_TOP_BOTTOM, lambda x, y: (x, 1 - y)),
    5: (Transpose.TRANSPOSE, lambda x, y: (y, x)),
    6: (Transpose.ROTATE_270, lambda x, y: (y, 1 - x)),
    7: (Transpose.TRANSVERSE, lambda x, y: (1 - y, 1 - x)),
    8: (Transpose.ROTATE_90, lambda x, y: (1 - y, x)),
}

#: width and height; None: whatever the other one gives
Box = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Style:
    """How thumbnails are made."""

    fit: str
    format: str
    quality: int
    #: RGBA
    background: tuple[int, ...]
    #: the point to keep when cropping, from the top left, as shares of width and height
    focus: tuple[float, float]
    animated: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Where one thumbnail comes from and how large it gets, in coordinates of the image before it is turned."""

    crop: tuple[float, float, float, float]
    scaled: tuple[int, int]
    canvas: tuple[int, int]

    def after_draft(self, x: float, y: float) -> Plan:
        """Return the same plan for an image decoded at a share of its width and height."""
        left, top, right, bottom = self.crop
        return Plan((left * x, top * y, right * x, bottom * y), self.scaled, self.canvas)


def thumbnails(image: Image.Image, boxes: Sequence[Box], style: Style) -> list[bytes]:
    """Decode once, and return one encoded thumbnail for each box.

    Raises:
        GiveUp: the image is broken, or too much is asked of it.
    """
    animated = style.animated and style.format != "JPEG" and image.format not in ("JPEG", "HEIF")
    made: list[list[Image.Image]] = [[] for _ in boxes]
    durations: list[int] = []
    try:
        orientation = _orientation(image)
        plans = [_plan(image.size, box, style, orientation) for box in boxes]
        if image.format == "JPEG":
            # The decoder itself halves up to three times, as far as the largest thumbnail allows.
            scale = max(max(plan.scaled[i] / (plan.crop[i + 2] - plan.crop[i]) for i in (0, 1)) for plan in plans)
            original = image.size
            image.draft(None, (max(1, round(image.width * scale)), max(1, round(image.height * scale))))
            plans = [plan.after_draft(image.width / original[0], image.height / original[1]) for plan in plans]
        for frame in frames(image) if animated else (image,):
            frame.load()  # WebP and AVIF tell the frame's duration only now
            durations.append(min(round(frame.info.get("duration", 0)), MAX_DURATION_MS))
            if len(durations) * sum(plan.canvas[0] * plan.canvas[1] for plan in plans) > MAX_RESULT_PIXELS:
                raise GiveUp(
                    f"the thumbnails together have more than {MAX_RESULT_PIXELS:,} pixels; ask for smaller or fewer ones"
                )
            for plan, pictures in zip(plans, made, strict=True):
                pictures.append(_render(frame, plan, style, orientation))
    except BROKEN as error:
        raise GiveUp(f"the {image.format} image cannot be decoded ({error}); send an intact file") from error
    try:
        return [_encode(pictures, durations, image.info.get("loop"), style) for pictures in made]
    except BROKEN as error:
        raise GiveUp(f"{style.format} cannot hold the thumbnail ({error}); ask for another format or size") from error


def _plan(size: tuple[int, int], box: Box, style: Style, orientation: int) -> Plan:
    w, h = size
    bound_w, bound_h = reversed(box) if orientation >= 5 else box
    if style.fit == "cover" and bound_w and bound_h:
        x, y = TURNS[orientation][1](*style.focus) if orientation in TURNS else style.focus
        scale = max(bound_w / w, bound_h / h)
        crop_w, crop_h = min(bound_w / scale, w), min(bound_h / scale, h)
        left, top = (w - crop_w) * x, (h - crop_h) * y
        return Plan((left, top, left + crop_w, top + crop_h), (bound_w, bound_h), (bound_w, bound_h))
    scale = min(1.0, (bound_w or w) / w, (bound_h or h) / h)
    scaled = (max(1, round(w * scale)), max(1, round(h * scale)))
    return Plan((0, 0, w, h), scaled, (bound_w or scaled[0], bound_h or scaled[1]) if style.fit == "pad" else scaled)


def _render(frame: Image.Image, plan: Plan, style: Style, orientation: int) -> Image.Image:
    picture = _to_srgb(_scaled(frame, plan), frame.info)
    if plan.canvas != plan.scaled or (style.format == "JPEG" and picture.mode == "RGBA"):
        canvas = Image.new("RGBA", plan.canvas, style.background)
        place = ((plan.canvas[0] - plan.scaled[0]) // 2, (plan.canvas[1] - plan.scaled[1]) // 2)
        canvas.alpha_composite(picture.convert("RGBA"), place)
        picture = canvas if style.format != "JPEG" and canvas.getchannel("A").getextrema()[0] < 255 else canvas.convert("RGB")
    if orientation in TURNS:
        picture = picture.transpose(TURNS[orientation][0])
    picture.info = {}  # what is left of the original's metadata
    return picture


def _scaled(frame: Image.Image, plan: Plan) -> Image.Image:
    """Scale with Lanczos, after averaging whole pixels down to about twice the size; in strips where that takes a copy."""
    if frame.mode in ("L", "RGB", "CMYK") and "transparency" not in frame.info:
        return frame.resize(plan.scaled, Resampling.LANCZOS, plan.crop, reducing_gap=2.0)
    left, top, right, bottom = plan.crop
    x, y = (max(1, int(a / b / 2)) for a, b in zip((right - left, bottom - top), plan.scaled, strict=True))
    if x * y == 1:
        return _scalable(frame).resize(plan.scaled, Resampling.LANCZOS, plan.crop)
    height = y * max(1, STRIP_PIXELS // frame.width // y)
    strips = ((0, at, frame.width, min(at + height, frame.height)) for at in range(0, frame.height, height))
    reduced = [_scalable(frame.crop(strip)).reduce((x, y)) for strip in strips]
    whole = Image.new(reduced[0].mode, (reduced[0].width, sum(strip.height for strip in reduced)))
    for number, strip in enumerate(reduced):
        whole.paste(strip, (0, number * height // y))
    return whole.resize(plan.scaled, Resampling.LANCZOS, (left / x, top / y, right / x, bottom / y))


def _scalable(frame: Image.Image) -> Image.Image:
    """Return the frame in a mode whose pixels can be averaged."""
    if frame.mode.startswith(("I", "F")):  # 16 bits a pixel
        return frame.convert("F").point(lambda value: value / 257).convert("L")
    if frame.mode in ("1", "P", "PA", "LA") or (frame.mode in ("L", "RGB") and "transparency" in frame.info):
        return frame.convert("RGBA" if frame.has_transparency_data else "RGB")
    return frame


def _to_srgb(picture: Image.Image, info: dict[Any, Any]) -> Image.Image:
    target = "RGBA" if picture.mode == "RGBA" else "RGB"
    if profile := info.get("icc_profile"):
        from PIL import ImageCms  # 10 ms that most images need not pay

        try:
            return ImageCms.profileToProfile(
                picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode=target
            )
        except (ImageCms.PyCMSError, *BROKEN):
            pass  # a broken profile, or one for other channels: the numbers are all there is
    return picture.convert(target)


def _encode(pictures: list[Image.Image], durations: list[int], loop: int | None, style: Style) -> bytes:
    options = {"quality": style.quality, **SAVE_OPTIONS.get(style.format, {})}
    if len(pictures) > 1:
        options |= {"save_all": True, "append_images": pictures[1:], "duration": durations, "disposal": 2}
        if loop is not None:
            options["loop"] = min(loop, MAX_LOOPS)
    load_plugin(style.format)
    file = io.BytesIO()
    pictures[0].save(file, style.format, **options)
    return file.getvalue()


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG":
        image.load()  # EXIF may follow the pixels; `getexif` would load them, too, and what is broken would be passed by below
    try:
        orientation = image.getexif().get(ORIENTATION)
    except BROKEN:
        return 1  # broken EXIF says nothing about the pixels
    return orientation if orientation in TURNS else 1
