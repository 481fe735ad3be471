"""Sizes, fits, formats, colours and orientations, judged by pixels."""

from __future__ import annotations

import inspect
import io
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageDraw

from runtime import Context, GiveUp
from runtime.testing import load

FOLDER = Path(__file__).parents[1]
thumbnail = load(FOLDER).thumbnail

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 60), (30, 60, 200), (230, 200, 40)


def quarters(width: int, height: int) -> Image.Image:
    """Red top left, green top right, blue bottom left, yellow bottom right."""
    image = Image.new("RGB", (width, height), RED)
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 2, 0, width, height // 2 - 1), fill=GREEN)
    draw.rectangle((0, height // 2, width // 2 - 1, height), fill=BLUE)
    draw.rectangle((width // 2, height // 2, width, height), fill=YELLOW)
    return image


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def made(content: bytes, **options: object) -> Image.Image:
    return Image.open(io.BytesIO(thumbnail(content, **options, ctx=Context()).content))


def near(colour: tuple[int, ...], expected: tuple[int, ...], delta: int = 12) -> bool:
    return all(abs(a - b) <= delta for a, b in zip(colour[:3], expected[:3], strict=True))


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    image, (w, h) = image.convert("RGB"), image.size
    return [image.getpixel((int(w * x), int(h * y))) for x, y in ((0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9))]


JPEG = encoded(quarters(800, 600), "JPEG", quality=95)


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({}, (256, 192)),
        ({"width": 100}, (100, 75)),
        ({"height": 60}, (80, 60)),
        ({"width": 100, "height": 100}, (100, 75)),
        ({"width": 100, "height": 100, "fit": "fit"}, (100, 75)),
        ({"width": 4000}, (800, 600)),
        ({"width": 100, "height": 100, "fit": "cover"}, (100, 100)),
        ({"width": 1000, "height": 100, "fit": "fill"}, (1000, 100)),
        ({"width": 100, "height": 100, "fit": "pad"}, (100, 100)),
    ],
)
def test_size_follows_the_box_and_the_fit(asked: dict[str, object], size: tuple[int, int]) -> None:
    """Contain keeps the proportions and never enlarges; cover and pad give exactly the box."""
    assert made(JPEG, **asked).size == size


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "gif", "avif"])
def test_every_format_becomes_every_other(source: str, target: str) -> None:
    """The result is in the format asked for, declares its media type, and shows the same picture."""
    artifact = thumbnail(encoded(quarters(320, 240), source), width=120, format=target, ctx=Context())
    image = Image.open(io.BytesIO(artifact.content))
    assert (image.format, artifact.media_type) == (target.upper(), f"image/{target}")
    assert image.size == (120, 90)
    assert all(map(near, corners(image), (RED, GREEN, BLUE, YELLOW)))


def test_heic_becomes_jpeg() -> None:
    """A phone's HEIC photo is decoded and comes back in a format that every browser shows."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    image = made(encoded(quarters(320, 240), "HEIF", quality=90))
    assert image.format == "JPEG"
    assert all(map(near, corners(image), (RED, GREEN, BLUE, YELLOW)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["contain", "cover"])
def test_exif_orientation_is_applied_to_a_12_megapixel_jpeg(orientation: int, fit: str) -> None:
    """However the camera was held, the thumbnail is upright, has no orientation tag left, and crops what was meant."""
    upright = quarters(4000, 3000)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation -> the Transpose that undoes the viewer's turn
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation in back else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = made(encoded(stored, "JPEG", exif=exif), width=200, height=150, fit=fit)
    assert image.size == (200, 150)
    assert all(map(near, corners(image), (RED, GREEN, BLUE, YELLOW)))
    assert not image.getexif()
    left_top = made(encoded(stored, "JPEG", exif=exif), width=50, height=150, fit="cover", focus_x=0, focus_y=0)
    assert all(map(near, corners(left_top), (RED, RED, BLUE, BLUE)))


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF", "HEIF"])
def test_orientation_in_other_formats(format: str) -> None:
    """What a JPEG says in its EXIF, others say in theirs or in a box of their own; all are turned upright."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = made(encoded(quarters(320, 240), format, exif=exif.tobytes()), width=120, format="png")
    assert image.size == (120, 160)
    assert all(map(near, corners(image), (BLUE, RED, YELLOW, GREEN)))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_that_does_not_exist(orientation: int) -> None:
    """A number that EXIF gives no meaning leaves the image as it is."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = made(encoded(quarters(400, 300), "JPEG", exif=exif), width=100, height=100)
    assert image.size == (100, 75)
    assert all(map(near, corners(image), (RED, GREEN, BLUE, YELLOW)))


@pytest.mark.parametrize(("focus", "colour"), [((0, 0), RED), ((1, 0), RED), ((0, 1), BLUE), ((0.5, 1), BLUE)])
def test_cover_keeps_the_focus(focus: tuple[float, float], colour: tuple[int, ...]) -> None:
    """The crop moves with the focus, as far as the image goes."""
    image = made(JPEG, width=200, height=50, fit="cover", focus_x=focus[0], focus_y=focus[1])
    assert near(corners(image)[0], colour)


def test_pad_fills_with_the_background() -> None:
    """What the image does not cover has the colour asked for, and is transparent where the format can be."""
    assert near(made(JPEG, width=200, height=200, fit="pad", background="#102030").getpixel((100, 5)), (16, 32, 48))
    clear = made(JPEG, width=200, height=200, fit="pad", background="#00000000", format="png")
    assert (clear.getpixel((100, 5))[3], clear.getpixel((100, 100))[3]) == (0, 255)


def test_transparency_stays_in_png_and_is_flattened_for_jpeg() -> None:
    """Alpha survives where it can; a JPEG shows the background through it, not black."""
    image = Image.new("RGBA", (200, 200), (255, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((100, 0, 199, 199), fill=(0, 0, 255, 255))
    png = encoded(image, "PNG")
    assert made(png, width=100).getpixel((10, 50))[3] == 0
    flat = made(png, width=100, format="jpeg", background="#ffcc00")
    assert near(flat.getpixel((10, 50)), (255, 204, 0))
    assert near(flat.getpixel((90, 50)), (0, 0, 255))


def test_transparent_pixels_do_not_bleed_into_the_edge() -> None:
    """Scaling weighs colours by their alpha: hidden red does not tint the rim of a blue disc."""
    image = Image.new("RGBA", (400, 400), (255, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((50, 50, 350, 350), fill=(0, 0, 255, 255))
    small = made(encoded(image, "PNG"), width=40)
    assert all(pixel[0] < 20 for pixel in small.get_flattened_data() if pixel[3] > 60)


def test_colour_profile_is_converted_to_srgb() -> None:
    """Numbers that mean blue in the image's own profile come back as sRGB's blue, and without the profile."""
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # sRGB with its red and blue primaries exchanged
    r, b = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[r : r + 4], swapped[b : b + 4] = b"bXYZ", b"rXYZ"
    image = made(encoded(Image.new("RGB", (300, 200), (255, 0, 0)), "JPEG", icc_profile=bytes(swapped), quality=95))
    assert near(image.getpixel((100, 50)), (0, 0, 255), 8)
    assert "icc_profile" not in image.info


@pytest.mark.parametrize("profile", [b"broken", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_colour_profile_that_does_not_fit(profile: bytes) -> None:
    """A profile that is broken or speaks of other channels is passed by; the numbers are taken as they are."""
    image = made(encoded(Image.new("RGB", (300, 200), (255, 0, 0)), "JPEG", icc_profile=profile, quality=95))
    assert near(image.getpixel((100, 50)), (255, 0, 0), 8)


def test_metadata_is_stripped() -> None:
    """Where and with what a photo was taken stays with the sender."""
    exif = Image.Exif()
    exif[0x010F], exif.get_ifd(0x8825)[1] = "Camera maker", "N"
    content = thumbnail(encoded(quarters(400, 300), "JPEG", exif=exif, comment=b"a secret"), ctx=Context()).content
    assert not any(trace in content for trace in (b"Exif", b"Camera maker", b"a secret"))


@pytest.mark.parametrize(
    ("mode", "stored", "grey"),
    [
        ("1", 1, 255),
        ("RGBA", (90, 90, 90, 255), 90),
        ("L", 90, 90),
        ("LA", (90, 255), 90),
        ("P", 7, 70),
        ("I;16", 90 * 257, 90),
        ("CMYK", (0, 0, 0, 165), 90),
    ],
)
def test_unusual_pixel_mode_keeps_its_brightness(mode: str, stored: int | tuple[int, ...], grey: int) -> None:
    """Bits, palettes, 16-bit samples and inks all come out as the grey they stand for."""
    image = Image.new(mode, (300, 200), stored)
    if mode == "P":
        image.putpalette([10 * (entry // 3) % 256 for entry in range(768)])
    result = made(encoded(image, "JPEG" if mode == "CMYK" else "PNG"), format="png", width=60)
    assert near(result.convert("RGB").getpixel((30, 20)), (grey, grey, grey), 3)


@pytest.mark.parametrize("source", ["GIF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("target", ["gif", "webp", "png", "avif"])
def test_animation_is_kept(source: str, target: str) -> None:
    """Every frame comes along, scaled, in order and as long as it was."""
    colours = [RED, GREEN, BLUE]
    pictures = [Image.new("RGB", (200, 100), colour) for colour in colours]
    animation = encoded(pictures[0], source, save_all=True, append_images=pictures[1:], duration=[100, 200, 300], loop=0)
    image = made(animation, width=50, format=target)
    assert (image.size, image.n_frames) == ((50, 25), 3)
    for number, colour in enumerate(colours):
        image.seek(number)
        image.load()
        assert near(image.convert("RGB").getpixel((25, 12)), colour)
        assert image.info["duration"] == 100 * (number + 1)


@pytest.mark.parametrize("target", ["gif", "webp", "png", "avif"])
def test_animation_of_endless_frames(target: str) -> None:
    """Durations and loops beyond what a format can hold become the largest that all of them hold."""
    pictures = [Image.new("RGB", (20, 10), colour) for colour in (RED, GREEN, BLUE)]
    png = encoded(pictures[0], "PNG", save_all=True, append_images=pictures[1:], duration=65_535_000, loop=2**32 - 1)
    image = made(png, width=10, format=target)
    assert image.n_frames == 3
    image.load()
    assert image.info["duration"] == 655_350


@pytest.mark.parametrize("asked", [{"animated": False}, {"format": "jpeg"}])
def test_first_frame_of_an_animation_on_request(asked: dict[str, object]) -> None:
    """Without animation, or into a format that has none, the first frame is the thumbnail."""
    pictures = [Image.new("RGB", (200, 100), colour) for colour in (RED, GREEN)]
    image = made(encoded(pictures[0], "GIF", save_all=True, append_images=pictures[1:]), **asked)
    assert getattr(image, "n_frames", 1) == 1
    assert near(image.convert("RGB").getpixel((25, 12)), RED)


def test_several_sizes_come_as_a_zip() -> None:
    """One run, one decode, one archive; its bytes depend on the input only."""
    sizes = ["64x64", "400", "x90"]
    artifact = thumbnail(JPEG, sizes=sizes, fit="cover", format="webp", ctx=Context())
    assert (artifact.media_type, artifact.filename) == ("application/zip", "thumbnails.zip")
    with zipfile.ZipFile(io.BytesIO(artifact.content)) as archive:
        found = {name: Image.open(io.BytesIO(archive.read(name))).size for name in archive.namelist()}
    assert found == {"64x64.webp": (64, 64), "400.webp": (400, 300), "x90.webp": (120, 90)}
    assert thumbnail(JPEG, sizes=sizes, fit="cover", format="webp", ctx=Context()).content == artifact.content


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"width": 0}, "width=0 is out of range"),
        ({"height": 5000}, "height=5000 is out of range"),
        ({"quality": 101}, "quality=101 is out of range"),
        ({"fit": "stretch"}, "fit='stretch' is not known"),
        ({"format": "tiff"}, "format='tiff' is not known"),
        ({"focus_x": 1.5}, "use shares from 0 to 1"),
        ({"background": "blurple"}, "background='blurple' is no colour"),
        ({"sizes": ["big"]}, "'big' is no size"),
        ({"sizes": ["../x"]}, "'../x' is no size"),
        ({"sizes": ["x" * 10**6]}, "^'x{40}' is no size"),
        ({"background": "x" * 10**6}, "^background='x{40}' is no colour"),
        ({"sizes": ["9999"]}, "width=9999 is out of range"),
        ({"sizes": [str(n) for n in range(1, 30)]}, "29 sizes are too many"),
        ({"url": "https://example.com/a.jpg"}, "both image and url"),
    ],
)
def test_option_that_cannot_be_met(asked: dict[str, object], sentence: str) -> None:
    """The error names the value and the cure, and no retry is spent on it."""
    with pytest.raises(GiveUp, match=sentence):
        thumbnail(JPEG, **asked, ctx=Context())


def test_nothing_sent() -> None:
    """Without image and url there is nothing to do, and the error says so."""
    with pytest.raises(GiveUp, match="neither image nor url"):
        thumbnail(ctx=Context())


def test_sample_events_name_real_parameters() -> None:
    """Each sample event is data that the function takes."""
    samples = [json.loads(path.read_text()) for path in (FOLDER / "events").glob("*.json")]
    names = set(inspect.signature(thumbnail).parameters)
    assert samples
    assert all(set(sample) <= names for sample in samples)
