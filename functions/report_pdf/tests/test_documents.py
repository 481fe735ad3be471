"""The document as a whole: cover, charts, logo, metadata, archival form, progress, cost; drawn and looked at."""

from __future__ import annotations

import base64
import inspect
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from PIL import Image, ImageChops, ImageCms, ImageColor
from pypdf import PdfReader

from runtime import Context
from runtime.testing import load

FOLDER = Path(__file__).parents[1]
report_pdf = load(FOLDER).report_pdf

ORDERS = [
    {"day": "2026-01-05", "region": "North", "units": 3, "price": 1234.5, "margin": 0.125},
    {"day": "2026-01-06", "region": "South", "units": 4, "price": 99.9, "margin": 0.3},
    {"day": "2026-02-01", "region": "North", "units": 5, "price": 0.1, "margin": 0.2},
]


def made(title: str = "Orders", **options: Any) -> PdfReader:
    return PdfReader(io.BytesIO(report_pdf(title, ctx=Context(), **options).content))


def text_of(reader: PdfReader) -> str:
    return "\n".join(page.extract_text() for page in reader.pages).replace("\N{NO-BREAK SPACE}", " ")


def logo(format: str = "PNG") -> str:
    file = io.BytesIO()
    Image.new("RGB", (120, 40), (200, 30, 30)).save(file, format)
    return base64.b64encode(file.getvalue()).decode()


def test_artifact_is_a_named_pdf() -> None:
    """The result declares what it is, and is called after its title."""
    artifact = report_pdf("Q3: sales & costs", rows=ORDERS, ctx=Context())
    assert (artifact.media_type, artifact.filename) == ("application/pdf", "q3-sales-costs.pdf")
    assert artifact.content.startswith(b"%PDF-")


def test_cover_and_summary() -> None:
    """A cover has the title to itself; the summary and the table follow."""
    reader = made(
        "Annual report",
        rows=ORDERS,
        cover=True,
        subtitle="All regions",
        author="Ada",
        date="2026-11-21",
        summary="It was good.",
    )
    first, second = (page.extract_text() for page in reader.pages)
    assert "Annual report" in first
    assert "Ada · 11/21/2026" in first
    assert "Page" not in first
    assert "It was good." in second
    assert "Page 2 of 2" in second


def test_metadata_names_title_and_author() -> None:
    """Readers and archives find title, author, subject and language in the document itself."""
    reader = made("Orders – März", rows=ORDERS, subtitle="January", author="Ada", locale="de")
    assert reader.metadata is not None
    assert (reader.metadata.title, reader.metadata.author, reader.metadata.subject) == ("Orders – März", "Ada", "January")
    assert reader.trailer["/Root"]["/Lang"] == "de"


def test_same_input_same_bytes() -> None:
    """Two runs agree to the byte: in one process, and in another with other hashes, time zone and language."""
    data = {"rows": ORDERS, "totals": True, "charts": [{"kind": "pie", "x": "region", "y": "units"}], "logo": logo()}
    first = report_pdf("Orders", ctx=Context(), **data).content
    report_pdf("Something else, 漢字 שלום", rows=[["é", 1]], ctx=Context())
    assert report_pdf("Orders", ctx=Context(), **data).content == first
    program = (
        "import sys, json; from pathlib import Path; from runtime import Context; from runtime.testing import load\n"
        "report_pdf = load(Path(sys.argv[1])).report_pdf\n"
        "sys.stdout.buffer.write(report_pdf('Orders', ctx=Context(), **json.loads(sys.argv[2])).content)"
    )
    command = [sys.executable, "-c", program, str(FOLDER), json.dumps(data)]
    strange = {**os.environ, "PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "C"}
    other = subprocess.run(command, capture_output=True, check=True, timeout=60, env=strange)
    assert other.stdout == first


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP"])
def test_logo_is_drawn(format: str) -> None:
    """The logo is the one image on the page, in its colour."""
    (image,) = made(rows=ORDERS, logo=logo(format)).pages[0].images
    assert image.image is not None
    assert all(abs(a - b) < 12 for a, b in zip(image.image.convert("RGB").getpixel((5, 5)), (200, 30, 30), strict=True))


def test_logo_as_data_url_and_as_bytes() -> None:
    """A data URL, line breaks and all, and a Python caller's bytes are the same logo."""
    text = logo()
    expected = report_pdf("x", rows=[], logo=text, ctx=Context()).content
    for other in (f"data:image/png;base64,{text[:20]}\r\n{text[20:]}", base64.b64decode(text)):
        assert report_pdf("x", rows=[], logo=other, ctx=Context()).content == expected


def test_charts_show_sums_by_label() -> None:
    """Line, bar and pie draw the rows' sums, with axes and legends in the locale's numbers."""
    charts = [
        {"kind": "bar", "x": "region", "y": "units", "title": "Units sold"},
        {"kind": "line", "x": "day", "y": ["units", "price"], "title": "Over time"},
        {"kind": "pie", "x": "region", "y": "units", "title": "Shares"},
    ]
    text = text_of(made(rows=ORDERS, charts=charts))
    assert all(part in text for part in ("Units sold", "Over time", "Shares", "66.7%", "33.3%", "North", "South"))


def test_negative_bars_hang_from_zero() -> None:
    """Losses are drawn below the axis, whose marks include zero and both signs."""
    rows = [{"m": "Jan", "result": -40}, {"m": "Feb", "result": 60}]
    text = text_of(made(rows=rows, charts=[{"kind": "bar", "x": "m", "y": "result"}]))
    assert all(f"\n{mark}\n" in text for mark in ("-40", "-20", "0", "20", "60"))


def test_progress_is_told() -> None:
    """A long report says how far it is, from layout to the last page."""
    ctx = Context()
    report_pdf("Long", rows=[[n, "text"] for n in range(3_000)], ctx=ctx)
    fractions = [payload["fraction"] for kind, payload in ctx.sent if kind == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.2 < 0.8 < fractions[-1] <= 1


def test_ten_thousand_rows_take_bounded_memory_and_time() -> None:
    """In a process of its own: less than 300 MB at most, less than 10 s of a processor, and progress all along."""
    program = r"""if 1:
        import json, re, sys, time
        from pathlib import Path
        from runtime import Context
        from runtime.testing import load

        report_pdf = load(Path(sys.argv[1])).report_pdf
        ctx = Context()
        rows = [[f"2026-01-{n % 28 + 1:02}", "North", f"Product {n % 97}", n, n * 0.37, f"Order {n}"] for n in range(10_000)]
        content = report_pdf("Long", rows=rows, totals=True, ctx=ctx).content
        told = sum(kind == "progress" for kind, _ in ctx.sent)
        peak = re.search(r"VmHWM:\s+([0-9]+)", Path("/proc/self/status").read_text())
        print(json.dumps([len(content), told, int(peak[1]) * 1024 / 1e6, time.process_time()]))
        """
    command = [sys.executable, "-c", program, FOLDER]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    size, told, peak_mb, cpu_s = json.loads(done.stdout)
    assert size > 100_000
    assert told >= 20
    assert peak_mb < 300
    assert cpu_s < 10


@pytest.mark.parametrize("sample", sorted((FOLDER / "events").glob("*.json")), ids=lambda path: path.stem)
def test_sample_event_runs(sample: Path) -> None:
    """Every sample event names real parameters and makes a document."""
    data = json.loads(sample.read_text())
    assert set(data) <= set(inspect.signature(report_pdf).parameters)
    assert len(made(**data).pages) >= 1


def test_document_is_fit_for_archives() -> None:
    """PDF/A-1b, as far as pypdf tells: XMP that agrees with the metadata, a colour profile, streams that end as they must."""
    content = report_pdf("<Q3> & März", rows=ORDERS, author="Ada", subtitle="All", logo=logo(), ctx=Context()).content
    reader = PdfReader(io.BytesIO(content))
    xmp, root = reader.xmp_metadata, reader.trailer["/Root"]
    assert xmp is not None
    assert reader.metadata is not None
    assert (xmp.dc_title, xmp.dc_creator, xmp.dc_description) == ({"x-default": "<Q3> & März"}, ["Ada"], {"x-default": "All"})
    assert (xmp.xmp_creator_tool, xmp.pdf_producer) == (reader.metadata.creator, reader.metadata.producer)
    assert xmp.xmp_create_date == xmp.xmp_modify_date == reader.metadata.creation_date.replace(tzinfo=None)
    pdfa = "http://www.aiim.org/pdfa/ns/id/"
    assert [element.firstChild.data for name in ("part", "conformance") for element in xmp.get_element("", pdfa, name)] == [
        "1",
        "B",
    ]
    assert "/Filter" not in root["/Metadata"]
    (intent,) = root["/OutputIntents"]
    profile = ImageCms.ImageCmsProfile(io.BytesIO(intent["/DestOutputProfile"].get_data()))
    assert ImageCms.getProfileDescription(profile).strip() == "sRGB IEC61966-2.1"
    assert content.count(b"endstream\n") == content.count(b"\nendstream\n") > 5
    fonts = [font.get_object() for page in reader.pages for font in page["/Resources"]["/Font"].values()]
    assert all("/FontFile2" in font["/FontDescriptor"] for font in fonts)


WORDS = "A rather long text that has to be wrapped, and then some. " * 6
STRESS: dict[str, dict[str, Any]] = {
    "long words": {"rows": [["x" * 900, WORDS, 12.5]] * 3, "title": "W" * 300, "summary": WORDS, "subtitle": "y" * 500},
    "thirty columns": {"rows": [{f"column {n}": n * 12_345.67 for n in range(30)}] * 40, "totals": True},
    "right to left": {"rows": [["עולם " * 60, "(" * 90, -5]] * 30, "locale": "he", "totals": True, "author": "ש" * 200},
    "ideographs": {"rows": [["漢字、「仮名」" * 90, "한국어 " * 40]] * 3, "locale": "ja", "logo": logo()},
    "charts": {
        "rows": [{"day": f"A rather long label {n}", "a": (-1) ** n * n * 1e9, "b": n % 10 / 1e6} for n in range(60)],
        "charts": [{"kind": kind, "x": "day", "y": y, "title": WORDS} for kind in ("bar", "line") for y in ("a", ["b", "a"])],
    },
    "pies": {
        "rows": [{"who": WORDS[n:], "share": n} for n in range(10)],
        "charts": [{"kind": "pie", "x": "who", "y": "share", "title": "z" * 400}] * 3,
        "locale": "ar",
    },
}


@pytest.mark.parametrize("name", STRESS)
def test_nothing_leaves_the_page(name: str) -> None:
    """Drawn by another program, the margins of every page are white: no text, chart or fill runs out of its place."""
    content = report_pdf(**{"title": "Stress", **STRESS[name]}, ctx=Context()).content
    for page in pypdfium2.PdfDocument(content):
        drawn = page.render(scale=1).to_pil().convert("L")
        inside = Image.new("L", drawn.size, 255)
        box = (46, 40, drawn.width - 46, drawn.height - 20)
        inside.paste(drawn.crop(box), box)
        assert ImageChops.difference(drawn, inside).getbbox() is None
        assert drawn.getextrema()[0] < 100


def test_charts_are_drawn_to_scale() -> None:
    """Bars are as high, and slices as wide, as their numbers say: counted in pixels of their colours."""
    rows = [{"who": "a", "one": 3, "two": 1}, {"who": "b", "one": 1, "two": 1}]
    charts = [{"kind": "bar", "x": "who", "y": ["one", "two"]}, {"kind": "pie", "x": "who", "y": "one"}]
    content = report_pdf("Scale", rows=rows, charts=charts, ctx=Context()).content
    page = pypdfium2.PdfDocument(content)[0].render(scale=2).to_pil()
    middle, top, bottom = page.width // 2, 220, 620  # between the rules of title and table, which have a bar's colour
    bars, pie = page.crop((0, top, middle, bottom)), page.crop((middle, top, page.width, bottom))

    def area(picture: Image.Image, colour: str) -> int:
        return sum(pixel == ImageColor.getrgb(colour) for pixel in picture.get_flattened_data())

    assert area(bars, "#2f5d8c") / area(bars, "#4aa3a2") == pytest.approx(2, rel=0.05)
    assert area(pie, "#2f5d8c") / area(pie, "#4aa3a2") == pytest.approx(3, rel=0.05)
