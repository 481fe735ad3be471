"""Data that means harm or is merely broken: a correct document, or one clear sentence."""

from __future__ import annotations

import contextlib
import io
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfReader

from runtime import Context, GiveUp
from runtime.testing import load

report_pdf = load(Path(__file__).parents[1]).report_pdf

MARKUP = [
    "<b>bold</b> & <i>more</i>",
    '<img src="/etc/passwd"/>',
    "<img src='http://127.0.0.1:1/x.png' width=10>",
    '<a href="javascript:alert(1)">click</a>',
    "<para><font name='nowhere'>x</font></para>",
    "&lt;&#x41;&nbsp;&bogus;",
    "]]><!-- x --><![CDATA[",
    "{{7*7}} ${7*7} %s %n {0}",
    "(((\\) Tj ET Q endstream",
    "=cmd|' /C calc'!A0",
]

NAUGHTY = [
    "\u202egnp.exe\u202c",
    "Z̵̧̛̤a̸̢͝l̶̨g̷̛o̸͝",
    "👩‍👩‍👧‍👦 🇩🇪 ✊🏿",
    "\x00\x01\x1b[31mred\x7f",
    "\ud800 lone",
    "a\tb\r\nc\rd",
    "\ufeff\u200b\u200d\u2028",
    "ﷺ ﷽ 𒐫",
    "ثم نفس سقطت وبالتحديد،",
    "Ω≈ç√∫˜µ≤≥÷ 社會科學院 田中さん 사회과학원",
    "",
    " ",
    "NULL",
    "١٢٣",
]


def made(**options: Any) -> PdfReader:
    return PdfReader(io.BytesIO(report_pdf(**{"title": "Hostile", **options}, ctx=Context()).content))


def text_of(reader: PdfReader) -> str:
    return "\n".join(page.extract_text() for page in reader.pages)


@pytest.mark.parametrize("text", MARKUP)
def test_markup_is_text(text: str) -> None:
    """Whatever looks like markup, in any place, is printed letter by letter: no image, no link, no action."""
    chart = {"kind": "bar", "x": "note", "y": "n", "title": text}
    reader = made(
        title=text, subtitle=text, author=text, summary=text, rows=[{"note": text, "n": 1}], group_by="note", charts=[chart]
    )
    assert "".join(text.split()) in "".join(text_of(reader).split())
    page = reader.pages[0]
    assert "/Annots" not in page
    assert not list(page.images)


@pytest.mark.parametrize("text", NAUGHTY)
def test_naughty_string(text: str) -> None:
    """Odd characters make a document that can be read back, wherever they stand."""
    reader = made(subtitle=text, summary=text, rows=[{"key": text, f"k{text}": text}], columns=["key", f"k{text}"])
    assert "Hostile" in text_of(reader)
    assert not set(text_of(reader)) & set("\x00\x01\x1b\x7f\u202e")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "NaN", "12 apples", True, "1e999"])
def test_number_that_is_none(value: object) -> None:
    """A number column names the row, the column and the value that does not belong."""
    with pytest.raises(GiveUp, match=r"row 2, column 'n' is .* no finite number"):
        made(rows=[[1], [value]], columns=[{"name": "n", "format": "number"}])


def test_nan_among_numbers() -> None:
    """Not a number is not a number, also when the column's format was left to be found."""
    with pytest.raises(GiveUp, match="row 1, column 'n' is 'nan'"):
        made(rows=[{"n": float("nan")}])


@pytest.mark.parametrize("value", [10**40, -(10**40), 1e300, 1e-300, 0.1 + 0.2, -0.0, 10**18])
def test_extreme_number(value: float) -> None:
    """The largest and smallest numbers fit into their column and their total."""
    assert len(text_of(made(rows=[[value]], columns=["n"], totals=True))) < 200


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"title": " ", "rows": []}, "title is empty"),
        ({"title": "x" * 400, "rows": []}, "title has 400 characters"),
        ({"rows": [["x" * 10_000_000]]}, "row 1, column 'Column 1' has 10,000,000 characters"),
        ({"rows": [[{"deep": "x" * 20_000}]]}, "nested data"),
        ({"rows": [[1] * 10_000]}, "10,000 columns do not fit"),
        ({"rows": [{f"k{n}": n for n in range(10_000)}]}, "10,000 columns do not fit"),
        ({"rows": [["a"], {"a": 1}]}, "objects and lists mixed"),
        ({"rows": [[1, 2, 3]], "columns": ["a", "b"]}, "row 1 has 3 cells for 2 columns"),
        ({"csv": "a,b\n1,2\n1,2,3\n"}, "row 2 has 3 cells for 2 columns"),
        ({"csv": ""}, "the CSV has 0 headings"),
        ({"csv": "," * 1_000_000}, "the CSV has 1,000,001 headings"),
        ({"csv": "," * 199 + "\n" + "1," * 199}, "200 columns do not fit"),
        ({"csv": "a\n" + "x" * 10_000_000}, "field larger than field limit"),
        ({"csv": "a,b\n1,2".encode("utf-16")}, "the CSV is not UTF-8"),
        ({"csv": b"a,b\n\xff\xfe,1"}, "the CSV is not UTF-8"),
        ({"csv": 'a,b\n"' + "x" * 200_000}, "the CSV cannot be read at line"),
        ({"csv": "a\n" + "1\n" * 250_001}, "more than 250,000 cells"),
        ({"rows": [{"a": 1}], "columns": ["b"]}, "no row has a column 'b'; there are 'a'"),
        ({"rows": [{"a": 1}], "columns": [{"name": "a", "format": "roman"}]}, "columns: format cannot be used"),
        ({"rows": [{"a": 1}], "columns": [{"name": "a", "colour": "red"}]}, "columns: colour cannot be used"),
        ({"rows": [{"a": "x"}], "columns": [{"name": "a", "format": "date"}]}, "'x', which is no date"),
        ({"rows": [{"a" * 300: 1}]}, "has a long name"),
        ({"rows": [{"a": 1}], "group_by": "b"}, "group_by names the column 'b'; there are 'a'"),
        ({"rows": [{"a": "x"}], "totals": ["a"]}, "totals names the column 'a', which holds no numbers"),
        ({"rows": [{"a": 1}], "charts": [{"kind": "bar", "x": "a", "y": "b"}]}, "a chart names the column 'b'"),
        ({"rows": [{"a": "x"}], "charts": [{"kind": "bar", "x": "a", "y": "a"}]}, "holds no numbers"),
        ({"rows": [{"a": 1}], "charts": [{"kind": "radar", "x": "a", "y": "a"}]}, "charts: kind cannot be used"),
        ({"rows": [{"a": -1}], "charts": [{"kind": "pie", "x": "a", "y": "a"}]}, "slices must not be negative"),
        (
            {"rows": [[n] for n in range(99)], "columns": ["a"], "charts": [{"kind": "bar", "x": "a", "y": "a"}]},
            "1 to 60 labels",
        ),
        ({"rows": [{"a": 1}], "charts": [{"kind": "bar", "x": "a", "y": "a"}] * 13}, "13 charts are too many"),
        ({"rows": [], "locale": "tlh"}, "locale='tlh' is not known"),
        ({"rows": [], "page": "A0"}, "page='A0' is not known"),
        ({"rows": [], "date": "tomorrow"}, "date='tomorrow' is no date"),
        ({"rows": [], "logo": "not base64!"}, "the logo is not base64"),
        ({"rows": [], "logo": b"<svg/>"}, "the logo is no intact PNG"),
    ],
)
def test_data_that_cannot_be_printed(data: dict[str, Any], sentence: str) -> None:
    """The error names the value and the place, in a message of bounded length."""
    with pytest.raises(GiveUp) as caught:
        made(**data)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 1_500


def test_logo_bomb_is_not_decoded() -> None:
    """A logo's size is judged by its header, also the one that a GIF gives its frame, to be cleared behind it."""
    png = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(png, "PNG")
    gif = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\x08\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;"
    for logo in (png.getvalue(), gif):
        with pytest.raises(GiveUp, match=r"pixels\) exceeds limit of 25000000 pixels; send a smaller image"):
            made(rows=[], logo=logo)


def test_widest_rows_take_bounded_memory() -> None:
    """Fifty thousand cells, thirty abreast, become pages without piling up."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader = made(rows=[[f"{row}/{column}" for column in range(30)] for row in range(50_000 // 30)])
    assert "1665/29" in "".join(reader.pages[-1].extract_text().split())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize(
    "data",
    [
        {"csv": "a\r1\r2\r"},
        {"csv": "\ufeffa\r\n1\r\n2\r\n"},
        {"csv": '"a"\n"1"\n"2"'},
        {"csv": "a\n1\0\n2\n"},
    ],
    ids=["CR", "BOM and CRLF", "quotes", "NUL"],
)
def test_csv_of_other_programs(data: dict[str, Any]) -> None:
    """Old line ends, a byte order mark, quotes around everything and stray NULs make the same two rows."""
    lines = text_of(made(**data)).splitlines()
    assert lines.index("2") == lines.index("1") + 1


def test_empty_row_is_a_row() -> None:
    """Rows without a single value take their place, so that what is counted is what was sent."""
    full = {"a": "first", "b": "last"}
    with_gaps, without = made(rows=[full, *[{}] * 60, full]), made(rows=[full, full])
    assert (len(with_gaps.pages), len(without.pages)) == (2, 1)


cells = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60) | st.dates().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
tables = st.lists(st.dictionaries(st.text(max_size=12), cells, max_size=5), max_size=8) | st.lists(
    st.lists(cells, max_size=5), max_size=8
)


@settings(max_examples=150, deadline=None)
@given(rows=tables, title=st.text(max_size=40), totals=st.booleans(), locale=st.sampled_from(["en", "de", "ar", "ja"]))
def test_any_json(rows: list[Any], title: str, totals: bool, locale: str) -> None:
    """Whatever JSON holds becomes a document that can be read, or a sentence."""
    with contextlib.suppress(GiveUp):
        assert made(title=title, rows=rows, totals=totals, locale=locale, summary=title).pages


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=200) | st.binary(max_size=200))
def test_any_csv(text: str | bytes) -> None:
    """Whatever is sent as CSV becomes a document that can be read, or a sentence."""
    with contextlib.suppress(GiveUp):
        assert made(csv=text).pages
