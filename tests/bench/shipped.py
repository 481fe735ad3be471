"""The functions of functions/: beside what their libraries can do at best, in time and in memory."""

from __future__ import annotations

import io
import json
import os
import random
import runpy
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from contestants import HERE
from figures import Figures, table
from PIL import Image, ImageChops
from PIL.Image import Resampling

from runtime import Context
from runtime.authoring.inspection import inspect
from runtime.execution.pool import Call, ChildPool
from runtime.testing import load

FOLDERS = HERE.parents[1] / "functions"

PROSE = """\
It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.
However little known the feelings or views of such a man may be on his first entering a neighbourhood, this truth is so
well fixed in the minds of the surrounding families, that he is considered the rightful property of some one or other of
their daughters. "My dear Mr. Bennet," said his lady to him one day, "have you heard that Netherfield Park is let at
last?" Mr. Bennet replied that he had not. "But it is," returned she; "for Mrs. Long has just been here, and she told me
all about it." Mr. Bennet made no answer. "Do you not want to know who has taken it?" cried his wife impatiently. "You
want to tell me, and I have no objection to hearing it." This was invitation enough. "Why, my dear, you must know, Mrs.
Long says that Netherfield is taken by a young man of large fortune from the north of England; that he came down on
Monday in a chaise and four to see the place, and was so much delighted with it, that he agreed with Mr. Morris
immediately; that he is to take possession before Michaelmas."
"""[:1024]
DISGUISED = ("fucking", "bullshit", "asshole", "bitch")
LANGUAGES = ["de", "en", "es", "fr"]


def measure(rounds: int) -> None:
    """Measure the functions that have a floor to be held against."""
    _thumbnail(rounds)
    _profanity_check(rounds)
    _report_pdf(rounds)


def photo(*, progressive: bool = False) -> bytes:
    """Return a JPEG of 24 megapixels, 4:2:0: soft shapes in colour under the noise of a sensor."""
    size = (6000, 4000)
    noise = Image.effect_noise(size, 16)
    shapes = [Image.effect_noise((60, 40), 110).resize(size, Resampling.BICUBIC) for _ in "RGB"]
    bands = [ImageChops.add(shape, noise, offset=-128) for shape in shapes]
    file = io.BytesIO()
    Image.merge("RGB", bands).save(file, "JPEG", quality=85, subsampling="4:2:0", progressive=progressive)
    return file.getvalue()


def _thumbnail(rounds: int) -> None:
    thumbnail = load(FOLDERS / "thumbnail").thumbnail
    photos = {"baseline": photo(), "progressive": photo(progressive=True)}
    for kind, content in photos.items():
        contestants: dict[str, Callable[[], object]] = {
            "oncue": partial(thumbnail, content, width=256, ctx=Context()),
            "pillow": partial(_by_pillow, content),
        }
        times: Figures = {name: [] for name in contestants}
        for _ in range(5 * rounds):
            for name, make in contestants.items():
                times[name].append(_took_s(make) * 1000)
        table(f"thumbnail: a {kind} JPEG of 24 MP to 256 px, beside Pillow's best", "ms", times, lower_is_better=True)
        shares = [ours / theirs for ours, theirs in zip(times["oncue"], times["pillow"], strict=True)]
        table("… each time as a multiple of Pillow's", "×", {"oncue": shares})
        peaks = [_in_a_child("thumbnail", {"width": 256}, blob=content)[1] for _ in range(rounds)]
        table("… most memory of a fresh child (VmHWM)", "MB", {"oncue": peaks})


def _by_pillow(content: bytes) -> bytes:
    image = Image.open(io.BytesIO(content), formats=["JPEG"])
    image.draft("RGB", (256, 256))
    image.thumbnail((256, 256), Resampling.LANCZOS, reducing_gap=1.0)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=82)
    return file.getvalue()


def _profanity_check(rounds: int) -> None:
    folder = FOLDERS / "profanity_check"
    check = load(folder).profanity_check
    texts = runpy.run_path(str(folder / "tests" / "disguising.py"))["texts"]
    code = (folder / "search.py").read_text()[1024:2048]
    assert len(PROSE) == len(code) == 1024
    check(PROSE, languages=LANGUAGES)  # reads the lists
    rng = random.Random(7)
    found: Figures = {name: [] for name in ("prose", "source code", "4 disguises", "4 met before", "nothing but disguises")}
    for _ in range(200 * rounds):
        disguised = _disguised(rng)
        dense = " ".join(text for _, text in texts(rng.randrange(10**9), 80))[:1024]
        for name, text in zip(found, (PROSE, code, disguised, disguised, dense), strict=True):
            begun = time.perf_counter()
            matches = check(text, languages=LANGUAGES)["matches"]
            found[name].append((time.perf_counter() - begun) * 1e6)
            assert len(matches) == 4 or text is not disguised, (text, matches)
    for name, times in found.items():
        table(f"profanity_check: 1,024 characters, all languages, {name}", "µs", {"oncue": times})


def _disguised(rng: random.Random) -> str:
    """Return the prose with four of its words replaced by profanity whose letters stand apart, each time by other signs."""
    words = PROSE.split(" ")
    for place, word in zip(range(20, 180, 40), DISGUISED, strict=True):
        words[place] = word[0] + "".join(rng.choice(".-_*~·•") + letter for letter in word[1:])
    return " ".join(words)[:1024]


def _report_pdf(rounds: int) -> None:
    header = ["day", "region", "product", "units", "price", "note"]
    rows = [
        [f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}", "North", f"Product {n % 97}", n % 50, n * 0.37, f"Order {n}, by post"]
        for n in range(10_000)
    ]
    data = {"title": "Ten thousand rows", "columns": header, "rows": rows, "totals": True}
    runs = [_in_a_child("report_pdf", data) for _ in range(rounds)]
    table("report_pdf: 10,000 rows of 6 columns, in a fresh child", "s", {"oncue": [run[0] for run in runs]})
    table("… most memory of the child (VmHWM)", "MB", {"oncue": [run[1] for run in runs]})
    table("… progress seen meanwhile", "times", {"oncue": [run[2] for run in runs]})


def _in_a_child(function: str, data: dict[str, Any], *, blob: bytes | None = None) -> tuple[float, float, float]:
    """Run a function in a child that has run nothing before: seconds, the most MB it ever held, progress frames."""
    folder = FOLDERS / function
    told: list[dict[str, Any]] = []
    inspect(folder)  # byte code is written, as after any deploy
    document = {"id": "1", "source": "bench", "type": "bench", "time": "2026-01-01T00:00:00+00:00", "data": data}
    before = set(psutil.Process().children())
    with tempfile.TemporaryDirectory() as state:
        pool = ChildPool(folder=folder, name=function, state_dir=Path(state), secret=os.environ.get)
        assert (failure := pool.warm()) is None, failure
        call = Call("1", function, 1, json.dumps(document).encode(), blob, "1", 60, 2 * 10**9, {}, ())
        begun = time.perf_counter()
        ending = pool.call(call, told.extend)
        took_s = time.perf_counter() - begun
        assert ending.failure is None, ending.failure
        (child,) = set(psutil.Process().children()) - before
        lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
        peak_kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        pool.close()
    return took_s, peak_kib * 1024 / 1e6, sum(frame["kind"] == "progress" for frame in told)


def _took_s(make: Callable[[], object]) -> float:
    begun = time.perf_counter()
    make()
    return time.perf_counter() - begun
