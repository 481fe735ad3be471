"""Images made to hurt, posted to a running OnCue: their senders are told why, and nobody else notices."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.running import Eventually, OnCue, start

FUNCTIONS = Path(__file__).parents[2] / "functions"


@pytest.fixture
def oncue(tmp_path: Path) -> Iterator[OnCue]:
    """`oncue up` over two of the shipped folders."""
    (tmp_path / "functions").mkdir()
    for name in ("profanity_check", "thumbnail"):
        (tmp_path / "functions" / name).symlink_to(FUNCTIONS / name)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONCUE_")}
    oncue = start({**kept, "ONCUE_PORT": "0"}, tmp_path)
    yield oncue
    assert oncue.up.stop() == 0


def bomb(side: int) -> bytes:
    """A valid grey PNG of side × side black pixels, side being thousands, in a few hundred kilobytes."""
    packer = zlib.compressobj(9, wbits=-15)
    rows = packer.compress(bytes((side + 1) * 1000)) + packer.flush(zlib.Z_FULL_FLUSH)  # may be repeated as it is
    count = (side + 1) * side
    checksum = count % 65521 << 16 | 1  # Adler-32 of so many zeros (RFC 1950)
    pixels = b"\x78\xda" + rows * (side // 1000) + b"\x03\0" + struct.pack(">I", checksum)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def animation() -> bytes:
    """A GIF of a thousand frames."""
    pictures = [Image.new("L", (16, 16), number % 256) for number in range(1_000)]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], optimize=False)
    return file.getvalue()


def test_bombs_among_neighbours(oncue: OnCue, eventually: Eventually) -> None:
    """Each bomb fails at its first attempt, with a sentence; all who call another function meanwhile are answered."""
    for name in ("profanity_check", "thumbnail"):
        eventually(lambda name=name: oncue.up.has(f"{oncue.url}/v1/functions/{name}"), 30)
    bombs = {f"{side * side} pixels) exceeds limit of 25000000": ("png", bomb(side)) for side in (9_000, 13_000, 20_000)}
    bombs["longer than 200 frames"] = ("gif", animation())
    with httpx.Client(base_url=oncue.url, headers={"Prefer": "wait=30"}, timeout=60) as client, ThreadPoolExecutor(24) as pool:

        def throw(kind: str, content: bytes) -> Any:
            answer = client.post("/v1/functions/thumbnail", content=content, headers={"content-type": f"image/{kind}"})
            assert not answer.is_success
            return client.get(f"/v1/invocations/{answer.headers['x-invocation-id']}").json()

        def ask(number: int) -> tuple[int, bool]:
            answer = client.post("/v1/functions/profanity_check", json={"text": f"What is this sh1t, number {number}?"})
            return answer.status_code, answer.json()["clean"]

        thrown = {sentence: pool.submit(throw, *each) for sentence, each in bombs.items()}
        asked = [pool.submit(ask, number) for number in range(20)]
        for sentence, future in thrown.items():
            record = future.result()
            assert (record["status"], len(record["attempts"])) == ("failed", 1), record
            assert sentence in record["error"]["message"]
        assert [future.result() for future in asked] == [(200, False)] * 20
