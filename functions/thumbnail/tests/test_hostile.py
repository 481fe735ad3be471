"""Images made to hurt: each is refused with a sentence, before it can take memory or time."""

from __future__ import annotations

import io
import random
import resource
import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from runtime import Context, GiveUp
from runtime.testing import load

thumbnail = load(Path(__file__).parents[1]).thumbnail


def png_bomb(side: int) -> bytes:
    """A valid greyscale PNG of side × side black pixels in a few hundred kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

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
    with pytest.raises(GiveUp, match=f"{side}×{side} pixels; send at most 25,000,000"):
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
    with pytest.raises(GiveUp, match="thumbnails together have more than 25,000,000 pixels"):
        thumbnail(saved(Image.new("RGB", (8, 8)), "PNG"), sizes=["4096x4096", "4096x4095"], fit="pad", ctx=Context())


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_truncated_file(format: str, share: float) -> None:
    """Half an image is an error that says so, not half a thumbnail."""
    whole = saved(Image.effect_noise((200, 200), 60).convert("RGB"), format)
    with pytest.raises(GiveUp, match="send"):
        thumbnail(whole[: max(12, int(len(whole) * share))], ctx=Context())


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


@pytest.mark.filterwarnings("ignore")  # Pillow warns of broken metadata that it passes by
@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
def test_flipped_bytes(format: str) -> None:
    """Damage anywhere in a file makes a thumbnail or a refusal, never another error."""
    whole, chance, refused = saved(Image.effect_noise((64, 64), 80).convert("RGB"), format), random.Random(7), 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 12)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            thumbnail(bytes(damaged), width=16, ctx=Context())
        except GiveUp:
            refused += 1
    assert refused > 0
