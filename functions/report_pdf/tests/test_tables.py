"""Tables read back as a reader would: rows in every form, locales, totals, widths and wrapping."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from runtime import Context, GiveUp
from runtime.testing import load

report_pdf = load(Path(__file__).parents[1]).report_pdf

ORDERS = [
    {"day": "2026-01-05", "region": "North", "units": 3, "price": 1234.5, "margin": 0.125},
    {"day": "2026-01-06", "region": "South", "units": 4, "price": 99.9, "margin": 0.3},
    {"day": "2026-02-01", "region": "North", "units": 5, "price": 0.1, "margin": 0.2},
]


def made(title: str = "Orders", **options: Any) -> PdfReader:
    return PdfReader(io.BytesIO(report_pdf(title, ctx=Context(), **options).content))


def text_of(reader: PdfReader) -> str:
    return "\n".join(page.extract_text() for page in reader.pages).replace("\N{NO-BREAK SPACE}", " ")


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


def test_wide_table_lies_down() -> None:
    """Too many columns for an upright page turn it; few leave it upright; the sender may insist."""
    wide = [[f"some_long_value_{n}" for n in range(9)]]
    assert made(rows=wide).pages[0].mediabox.width > made(rows=wide).pages[0].mediabox.height
    assert made(rows=ORDERS).pages[0].mediabox.width < made(rows=ORDERS).pages[0].mediabox.height
    assert made(rows=wide, landscape=False).pages[0].mediabox.width < 600
    assert made(rows=ORDERS, page="Letter").pages[0].mediabox.width == 612


def test_cell_longer_than_a_page_goes_on() -> None:
    """A row higher than a page is parted, and its text is whole."""
    words = " ".join(f"w{n}" for n in range(900))
    reader = made(rows=[[words, *(["column"] * 12)]])
    assert len(reader.pages) > 1
    assert [word for word in text_of(reader).split() if word.startswith("w")] == words.split()


def test_long_text_wraps_and_loses_nothing() -> None:
    """Every word of a long cell is on the page; a word without spaces is broken, not clipped."""
    words = " ".join(f"w{n}" for n in range(600))
    text = text_of(made(rows=[["short", words, "x" * 400]]))
    assert text.split().count("w599") == 1
    assert sum(line.count("x") for line in text.splitlines() if set(line) == {"x"}) == 400


def test_whole_numbers_of_json_have_no_decimals() -> None:
    """A programming language that writes 3 as 3.0 means a three."""
    text = text_of(made(rows=[[3.0], [1e12]], columns=["n"]))
    assert "3\n1,000,000,000,000\n" in text


def test_columns_have_room_for_their_longest_word() -> None:
    """As long as any size or direction of the page allows it, no word and no number is broken."""
    for count in range(3, 15):
        row = ["consultation" if n % 3 else n * 12_345.67 for n in range(count)]
        words = text_of(made(rows=[row])).split()
        assert words.count("consultation") == sum(cell == "consultation" for cell in row), count
