"""Text of many scripts: fonts, reading order, line breaks, and what comes out when it is copied."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pypdfium2
from pypdf import PdfReader

from runtime import Context
from runtime.testing import load

FOLDER = Path(__file__).parents[1]
report_pdf = load(FOLDER).report_pdf
typeface = sys.modules[f"{load(FOLDER).__name__}.typeface"]


def made(title: str = "Orders", **options: Any) -> PdfReader:
    return PdfReader(io.BytesIO(report_pdf(title, ctx=Context(), **options).content))


def text_of(reader: PdfReader) -> str:
    return "\n".join(page.extract_text() for page in reader.pages).replace("\N{NO-BREAK SPACE}", " ")


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


def test_vowel_signs_are_kept() -> None:
    """Arabic and Hebrew vowel signs are part of the text; joining letters does not drop them."""
    text = text_of(made(rows=[["بِسْمِ", "נִקּוּד"]], locale="ar"))
    assert [text.count(sign) for sign in "\u0650\u0652\u05b4\u05bc"] == [2, 1, 1, 2]


def test_ideographic_punctuation_does_not_start_a_line() -> None:
    """A comma or a closing bracket goes to the next line with what it belongs to; an opening bracket does not stay behind."""
    for width in range(20, 40):
        lines = typeface.typefaces()[0].wrap("一二、「三四」五六。" * 9, 4 * width, 9)
        assert "".join(lines) == "一二、「三四」五六。" * 9
        assert not {line[0] for line in lines} & set("、」。")
        assert "「" not in {line[-1] for line in lines}


def test_characters_beyond_the_basic_plane_can_be_copied() -> None:
    """What is copied out of the document is what was put in, also where a character takes two UTF-16 units."""
    document = pypdfium2.PdfDocument(report_pdf("Signs", rows=[["😀 𝕋𝕙𝕖"]], ctx=Context()).content)
    assert "😀 𝕋𝕙𝕖" in document[0].get_textpage().get_text_range()
