"""Reports read back as a reader would: their text, pages, metadata and fonts."""

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

import pytest
from PIL import Image
from pypdf import PdfReader

from runtime import Context, GiveUp
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


@pytest.mark.parametrize(
    "data",
    [
        {"rows": [{"name": "Ada", "born": 1815}, {"name": "Grace", "born": 1906, "rank": "rear admiral"}]},
        {"rows": [["Ada", 1815, None], ["Grace", 1906, "rear admiral"]], "columns": ["name", "born", "rank"]},
        {"csv": "name;born;rank\r\nAda;1815;\r\n\r\nGrace;1906;rear admiral\r\n"},
        {"csv": b"\xef\xbb\xbfname,born,rank\nAda,1815\nGrace,1906,rear admiral"},
    ],
)
def test_rows_in_every_form(data: dict[str, Any]) -> None:
    """Objects, lists and CSV make the same table; what a row leaves out is empty."""
    text = text_of(made(**data))
    for word in ("Orders", "Name", "Born", "Rank", "Ada", "1,815", "Grace", "rear admiral", "Page 1 of 1"):
        assert word in text
    assert "None" not in text


def test_artifact_is_a_named_pdf() -> None:
    """The result declares what it is, and is called after its title."""
    artifact = report_pdf("Q3: sales & costs", rows=ORDERS, ctx=Context())
    assert (artifact.media_type, artifact.filename) == ("application/pdf", "q3-sales-costs.pdf")
    assert artifact.content.startswith(b"%PDF-")


def test_headings_and_page_numbers_on_every_page() -> None:
    """A table over several pages repeats its headings; each page knows its number and how many there are."""
    reader = made(rows=[{"item": f"item {n}", "amount": n} for n in range(200)])
    count = len(reader.pages)
    assert count > 2
    for number, page in enumerate(reader.pages, 1):
        text = page.extract_text()
        assert "Item" in text
        assert f"Page {number} of {count}" in text
    text = text_of(reader)
    assert all(f"item {n}\n" in text for n in range(200))


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en", ["1,234.50", "01/05/2026", "€1,234.50", "12.5%", "Yes", "Page 1 of 1", "Total"]),
        ("en-GB", ["1,234.50", "05/01/2026", "€1,234.50"]),
        ("de", ["1.234,50", "05.01.2026", "1.234,50 €", "12,5 %", "Ja", "Seite 1 von 1", "Summe"]),
        ("de-AT", ["1.234,50", "05.01.2026"]),
        ("fr", ["1 234,50", "05/01/2026", "1 234,50 €", "12,5 %", "Oui", "Page 1 sur 1"]),
        ("es", ["1.234,50", "05/01/2026", "Página 1 de 1"]),
        ("ru", ["1 234,50", "05.01.2026", "Страница 1 из 1", "Итого"]),
        ("ja", ["1,234.50", "2026/01/05", "合計", "1 / 1 ページ"]),
    ],
)
def test_numbers_and_dates_follow_the_locale(locale: str, expected: list[str]) -> None:
    """Separators, the order of dates, the place of the currency and the few words are the locale's own."""
    row = {"day": "2026-01-05", "net": 1234.5, "gross": 1234.5, "margin": 0.125, "paid": True}
    columns = [
        "day",
        {"name": "net", "decimals": 2},
        {"name": "gross", "format": "money", "currency": "€"},
        {"name": "margin", "format": "percent"},
        "paid",
    ]
    text = text_of(made(rows=[row], columns=columns, totals=True, locale=locale))
    assert [part for part in expected if "".join(part.split()) not in "".join(text.split())] == []


def test_totals_are_exact_and_groups_have_their_own() -> None:
    """Sums are decimal, so 0.1 + 0.2 is 0.3; every group closes with its total and the table with all of it."""
    rows = [["a", 0.1], ["b", 7], ["a", 0.2]]
    text = text_of(made(rows=rows, columns=["kind", "amount"], group_by="kind", totals=["amount"]))
    positions = [text.index(part) for part in ("Kind: a", "0.3", "Kind: b", "7.0", "7.3")]
    assert positions == sorted(positions)


def test_totals_have_room() -> None:
    """A sum, which is bold and longer than what it sums up, stands on one line, also beside texts that want all the room."""
    columns = ["kind", "note", "n", {"name": "amount", "format": "money", "currency": "$"}]
    rows = [[kind, "word " * 40, sign * 99, 9_999.99] for kind, sign in (("a", 1), ("b", -1)) for _ in range(200)]
    text = text_of(made(rows=rows, columns=columns, totals=True, group_by="kind"))
    assert all(part in text for part in ("19,800", "-19,800", "$1,999,998.00", "$3,999,996.00"))


def test_identifiers_in_csv_stay_text() -> None:
    """Leading zeros, signs of telephone numbers and mixed columns are not read as numbers."""
    text = text_of(made(csv="zip,phone,size\n01067,+49351,10\n10115,+4930,large\n"))
    assert all(part in text for part in ("01067", "+49351", "10115", "large"))
    assert "10,115" not in text


def test_strings_in_json_stay_text() -> None:
    """A sender of JSON has numbers to say numbers with; its strings are printed as they are."""
    assert "10115" in text_of(made(rows=[{"zip": "10115"}]))


def test_headings_that_repeat_keep_their_own_values() -> None:
    """Two columns of one name are two columns."""
    text = text_of(made(csv="size,size\nfirst,second\n"))
    assert "first" in text
    assert "second" in text


def test_columns_choose_order_and_label() -> None:
    """Only the named columns appear, in the order given, under their labels."""
    text = text_of(made(rows=ORDERS, columns=[{"name": "price", "label": "Net price"}, "region"]))
    assert text.index("Net price") < text.index("Region")
    assert "Units" not in text


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


def test_text_font_is_embedded() -> None:
    """The document looks the same everywhere: its letters come along, and nothing else does."""
    fonts = made(rows=[["Zażółć gęślą jaźń", "Ελλάδα", "Привет"]]).pages[0]["/Resources"]["/Font"]
    used = [font.get_object() for font in fonts.values()]
    assert {font["/BaseFont"].split("+")[1] for font in used} == {"FiraGO-Regular", "FiraGO-Bold"}
    assert all("/FontFile2" in font["/FontDescriptor"] for font in used)


def test_right_to_left_text_is_joined_and_ordered() -> None:
    """Arabic letters are joined, lines run from the right, and brackets keep embracing what they embrace."""
    reader, starts = made("דוח", rows=[{"שם": "שלום עולם", "סכום": 5}], locale="he", totals=True), {}
    reader.pages[0].extract_text(visitor_text=lambda text, _, matrix, *__: starts.setdefault(text.strip(), matrix[4]))
    words = " ".join(starts).split()
    assert all(word in words for word in ("דוח", "שלום", "עולם", "סך", "הכול", "עמוד"))
    assert starts["דוח"] > 500 > 100 > starts["סכום"]  # the title at the right edge, the last column at the left
    direction = sys.modules[f"{load(FOLDER).__name__}.direction"]
    assert direction.visual("שלום (abc) 12") == "12 (abc) םולש"
    assert direction.visual("abc (שלום) def") == "abc (םולש) def"
    assert direction.visual("(א) [ב] «ג»") == "«ג» [ב] (א)"
    assert direction.visual("שלום (עולם") == "םלוע) םולש"
    assert direction.shaped("سعر") == "\ufeb3\ufecc\ufeae"


def test_cjk_text_is_kept() -> None:
    """Chinese, Japanese and Korean can be read back, long text without spaces wraps, and every font is embedded."""
    sentence = "長い文章は折り返されます。" * 40
    reader = made("日本語の報告書", rows=[["中文", "한국어 ✓", sentence]], locale="ja")
    text = text_of(reader).replace("\n", "")
    assert all(part in text for part in ("日本語の報告書", "中文", "한국어 ✓", "1 / 1 ページ"))
    assert text.count("折") == 40
    fonts = [font.get_object() for page in reader.pages for font in page["/Resources"]["/Font"].values()]
    assert any(font["/BaseFont"].endswith("+DroidSansFallback") for font in fonts)
    assert all("/FontFile2" in font["/FontDescriptor"] for font in fonts)


def test_long_text_wraps_and_loses_nothing() -> None:
    """Every word of a long cell is on the page; a word without spaces is broken, not clipped."""
    words = " ".join(f"w{n}" for n in range(600))
    text = text_of(made(rows=[["short", words, "x" * 400]]))
    assert text.split().count("w599") == 1
    assert sum(line.count("x") for line in text.splitlines() if set(line) == {"x"}) == 400


def test_cell_longer_than_a_page_goes_on() -> None:
    """A row higher than a page is parted, and its text is whole."""
    words = " ".join(f"w{n}" for n in range(900))
    reader = made(rows=[[words, *(["column"] * 12)]])
    assert len(reader.pages) > 1
    assert [word for word in text_of(reader).split() if word.startswith("w")] == words.split()


def test_wide_table_lies_down() -> None:
    """Too many columns for an upright page turn it; few leave it upright; the sender may insist."""
    wide = [[f"some_long_value_{n}" for n in range(9)]]
    assert made(rows=wide).pages[0].mediabox.width > made(rows=wide).pages[0].mediabox.height
    assert made(rows=ORDERS).pages[0].mediabox.width < made(rows=ORDERS).pages[0].mediabox.height
    assert made(rows=wide, landscape=False).pages[0].mediabox.width < 600
    assert made(rows=ORDERS, page="Letter").pages[0].mediabox.width == 612


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


def test_empty_table_is_a_report_too() -> None:
    """No rows is an answer: headings when they are known, and no table when not."""
    assert "Region" in text_of(made(rows=[], columns=["region"]))
    assert "Region" in text_of(made(csv="region,units\n"))
    assert "Nothing sold" in text_of(made("Nothing sold", rows=[]))


@pytest.mark.parametrize("data", [{}, {"rows": [], "csv": "a"}])
def test_rows_and_csv_exclude_each_other(data: dict[str, Any]) -> None:
    """Exactly one of the two is needed."""
    with pytest.raises(GiveUp, match=r"rows nor csv|rows and csv"):
        made(**data)
