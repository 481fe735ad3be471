"""Images made to hurt: each is refused with a sentence, before it can take memory or time."""

from __future__ import annotations

import io
import random
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from runtime import Context, GiveUp
from runtime.testing import load

thumbnail = load(Path(__file__).parents[1]).thumbnail


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bomb(side: int) -> bytes:
    """A valid greyscale PNG of side × side black pixels in a few hundred kilobytes."""
    packer, row = zlib.compressobj(9), bytes(side + 1)
    pixels = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("side", [9_000, 13_000, 20_000])
def test_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    """A small file that unpacks to hundreds of megabytes is never unpacked."""
    bomb = png_bomb(side)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(GiveUp, match=rf"{side * side} pixels\) exceeds limit of 25000000 pixels; send a smaller image"):
        thumbnail(bomb, ctx=Context())
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KiB


def animation(count: int, side: int) -> bytes:
    pictures = [Image.new("L", (side, side), number % 256) for number in range(count)]
    return saved(pictures[0], "GIF", save_all=True, append_images=pictures[1:], optimize=False)


def test_animation_of_a_thousand_frames() -> None:
    """Frames are counted as they are decoded; the error tells how to get the first one."""
    gif = animation(1_000, 16)
    with pytest.raises(GiveUp, match=r"longer than 200 frames .* animated=false"):
        thumbnail(gif, ctx=Context())
    assert Image.open(io.BytesIO(thumbnail(gif, animated=False, ctx=Context()).content)).size == (16, 16)


def test_animation_of_few_but_large_frames() -> None:
    """All frames together have a limit on pixels, too."""
    with pytest.raises(GiveUp, match="100,000,000 pixels"):
        thumbnail(animation(8, 4_000), width=16, ctx=Context())


def test_results_larger_than_memory_allows() -> None:
    """Many large results at once are refused, however small the image is."""
    with pytest.raises(GiveUp, match="thumbnails together have more than 16,777,216 pixels"):
        thumbnail(saved(Image.new("RGB", (8, 8)), "PNG"), sizes=["4096x4096", "4096x4095"], fit="pad", ctx=Context())


def files() -> dict[str, bytes]:
    """A small file of each kind, named for its format."""
    noise = [Image.effect_noise((64, 48), 80).convert("RGB") for _ in range(3)]
    still = {format: saved(noise[0], format) for format in ("JPEG", "PNG", "GIF", "WEBP", "AVIF")}
    moving = {
        f"{format} animated": saved(noise[0], format, save_all=True, append_images=noise[1:])
        for format in still
        if format != "JPEG"
    }
    if find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
        still["HEIF"] = saved(noise[0], "HEIF")
    return {**still, **moving, "JPEG progressive": saved(noise[0], "JPEG", progressive=True)}


FILES = files()


@pytest.mark.parametrize("kind", FILES)
def test_truncated_file(kind: str) -> None:
    """Part of an image, wherever it was cut, is an error that says so, not part of a thumbnail."""
    whole = FILES[kind]
    for share in range(1, 40):
        with pytest.raises(GiveUp, match="send"):
            thumbnail(whole[: len(whole) * share // 40], ctx=Context())


@pytest.mark.parametrize("format", ["EPS", "TIFF", "BMP", "ICO", "PPM", "TGA", "PCX", "JPEG2000"])
def test_format_that_is_not_taken(format: str) -> None:
    """Decoders that are rarely needed and often broken are out of reach, whatever the file is called."""
    with pytest.raises(GiveUp, match="none of JPEG, PNG, WebP, GIF, AVIF, HEIC"):
        thumbnail(saved(Image.new("RGB", (32, 32)), format), ctx=Context())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 64,
        b"8BPS\0\1" + bytes(60),
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n",
        b"GIF8",
        b"\0\0\0\x18ftypmp42isommp42",
        b"RIFF\0\0\0\0AVI ",
    ],
)
def test_bytes_that_are_no_image(content: bytes) -> None:
    """The refusal shows how the data starts, and what to send instead."""
    with pytest.raises(GiveUp, match=r"the image (is empty|starts with).*send one of these"):
        thumbnail(content, ctx=Context())


@pytest.mark.parametrize(
    "magic",
    [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x40\0\0\0WEBP", b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf"],
)
def test_rubbish_behind_a_good_start(magic: bytes) -> None:
    """A format's magic number opens its decoder and nothing else; what follows is judged there."""
    with pytest.raises(GiveUp, match=r"cannot be (read|decoded)|pixels"):
        thumbnail(magic + bytes(range(256)) * 4, ctx=Context())


@pytest.mark.parametrize("kind", FILES)
def test_flipped_bytes(kind: str) -> None:
    """Damage anywhere in a file, its header above all, makes a thumbnail or a refusal, never another error or a warning."""
    whole, chance, refused = FILES[kind], random.Random(7), 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            end = chance.choice((len(damaged), min(400, len(damaged))))
            damaged[chance.randrange(end)] = chance.randrange(256)
        try:
            thumbnail(bytes(damaged), width=16, ctx=Context())
        except GiveUp:
            refused += 1
    assert refused > 0


def png_with(*more: bytes, side: int = 8, colour: int = 2) -> bytes:
    """A black PNG with more chunks before its pixels; `colour` as in the PNG specification, table 11.1."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(side * (side * samples + 1)), 1))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + pixels + chunk(b"IEND", b"")


def gif_frame(side: int) -> bytes:
    """A frame of a GIF, of one pixel whatever it says, to be cleared before the next (GIF89a, 20 and 23)."""
    return b"!\xf9\4\x08\0\0\0\0,\0\0\0\0" + struct.pack("<HH", side, side) + b"\0\2\2L\1\0"


JPEG = FILES["JPEG"]
SCANS = FILES["JPEG progressive"]
LAST_SCAN = SCANS[SCANS.rindex(b"\xff\xda") : -2]


def bomb() -> bytes:
    """Two hundred megabytes of zeros."""
    return zlib.compress(bytes(200_000_000), 9)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: png_with(chunk(b"zTXt", b"k\0\0" + bomb())), "too large"),
        (lambda: png_with(chunk(b"iTXt", b"k\0\1\0\0\0" + bomb())), "too large"),
        (lambda: png_with(chunk(b"iCCP", b"k\0\0" + bomb())), "too large"),
        (lambda: png_with(*[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**6)))] * 200), "Too much memory"),
        (lambda: png_with(*[chunk(b"abCd", b"")] * 1_900_000), "PNG image has more than 10,000 parts"),
        (lambda: png_with(chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))), "send an intact file"),
        (lambda: png_with(colour=3), "send an intact file"),
        (lambda: SCANS[:-2] + LAST_SCAN * 4_000 + SCANS[-2:], "JPEG image has more than 100 scans"),
        (lambda: JPEG.replace(b"\xff\xc0\0\x11", b"\xff\xc9\0\x11"), "lossless or arithmetic coded"),
        (lambda: JPEG[:2] + b"\xff\xfe\0\2" * 5_000_000 + JPEG[2:], "JPEG image has more than 10,000 parts"),
        (lambda: JPEG[:2] + b"\xff" * 20_000_000 + JPEG[2:], "its header is broken"),
        (lambda: JPEG[:20] + bytes(20_000_000) + JPEG[20:], "its header is broken"),
        (lambda: JPEG.replace(b"\0\x11\x08\0\x30\0\x40", b"\0\x11\x08\xff\xdc\xff\xdc"), "4290250000 pixels"),
        (lambda: b"GIF89a\xff\xff\xff\xff\0\0\0" + gif_frame(1) + b";", "4294836225 pixels"),
        (lambda: b"GIF89a\1\0\1\0\0\0\0" + gif_frame(65_535) + b";", "4294836225 pixels"),
        (lambda: b"GIF89a\1\0\1\0\0\0\0" + gif_frame(1) + gif_frame(65_535) + b";", "4294836225 pixels"),
        (lambda: FILES["AVIF"].replace(b"\0\0\0\x40\0\0\0\x30", b"\0\0\xff\xff\0\0\xff\xff"), "send"),
    ],
)
def test_small_file_that_asks_for_much(make: Callable[[], bytes], sentence: str) -> None:
    """Bombs in metadata, headers without end and a thousand passes over the pixels are refused, within a second."""
    content, start = make(), time.process_time()
    with pytest.raises(GiveUp, match=sentence) as caught:
        thumbnail(content, ctx=Context())
    assert time.process_time() - start < 1
    assert "object at 0x" not in str(caught.value)


@pytest.mark.parametrize("place", [41, 5_000])
def test_png_whose_pixels_are_broken(place: int) -> None:
    """A PNG is decoded to look for EXIF behind its pixels; what is broken there is an error, not half a picture."""
    broken = FILES["PNG"][:place] + bytes(64) + FILES["PNG"][place + 64 :]
    with pytest.raises(GiveUp, match=r"PNG image cannot be decoded .*; send an intact file"):
        thumbnail(broken, ctx=Context())


@pytest.mark.parametrize(
    "odd",
    [SCANS[:2] + b"\xff\xe2\x01\x92" + b"\xff\xda" * 200 + SCANS[2:], JPEG[:2] + b"\xff\0oh\xff\xff\0" + JPEG[2:]],
    ids=["metadata that looks like scans", "stuffed bytes between segments"],
)
def test_jpeg_whose_header_is_odd(odd: bytes) -> None:
    """What every decoder passes by in a header does not matter here either."""
    plain = SCANS if len(odd) > len(SCANS) + 100 else JPEG
    assert thumbnail(odd, ctx=Context()).content == thumbnail(plain, ctx=Context()).content


def test_png_with_padding_behind_its_end() -> None:
    """What follows the end of a PNG is nobody's business: it is scaled as if it were not there."""
    assert thumbnail(png_with() + bytes(130_000), ctx=Context()).content == thumbnail(png_with(), ctx=Context()).content


def test_largest_images_take_bounded_memory(tmp_path: Path) -> None:
    """25 megapixels of palette, alpha, 16 bits, ink and a progressive JPEG become a thumbnail in less than 200 MB."""
    side = 5_000
    (tmp_path / "rgba").write_bytes(png_with(side=side, colour=6))
    (tmp_path / "grey and alpha").write_bytes(png_with(side=side, colour=4))
    (tmp_path / "palette").write_bytes(png_with(chunk(b"PLTE", bytes(768)), chunk(b"tRNS", b"\x80"), side=side, colour=3))
    (tmp_path / "transparent colour").write_bytes(png_with(chunk(b"tRNS", bytes(6)), side=side))
    (tmp_path / "16 bits").write_bytes(saved(Image.new("I;16", (side, side)), "PNG", compress_level=1))
    (tmp_path / "ink").write_bytes(saved(Image.new("CMYK", (side, side)), "JPEG"))
    (tmp_path / "progressive").write_bytes(saved(Image.new("RGB", (side, side)), "JPEG", progressive=True))
    program = r"""if 1:
        import re, sys
        from pathlib import Path
        from runtime import Context
        from runtime.testing import load

        thumbnail = load(Path(sys.argv[1])).thumbnail
        for path in Path(sys.argv[2]).iterdir():
            thumbnail(path.read_bytes(), ctx=Context())
            peak = re.search(r"VmHWM:\s+([0-9]+)", Path("/proc/self/status").read_text())
            print(path.name, int(peak[1]) // 1024)
        """
    done = subprocess.run(
        [sys.executable, "-c", program, Path(__file__).parents[1], tmp_path], capture_output=True, text=True, check=True
    )
    most = {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in done.stdout.splitlines()}
    assert len(most) == 7
    assert max(most.values()) < 200, most


def test_format_that_cannot_hold_the_thumbnail() -> None:
    """A side that is too long for the format asked for is told, with a way out."""
    with pytest.raises(GiveUp, match=r"WEBP cannot hold the thumbnail .* ask for another format or size"):
        thumbnail(saved(Image.new("L", (20_000, 1)), "PNG"), height=1, format="webp", ctx=Context())
