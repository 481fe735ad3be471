"""Lays a report out before anything is drawn, so that "page n of m" knows m, then draws it page by page.

Everything is drawn as plain glyphs: no text of a report is ever read as markup.
"""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from reportlab import rl_config
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from runtime import GiveUp

from .direction import shaped
from .locales import Locale
from .table import Series
from .typeface import typefaces

rl_config.useA85 = 0  # binary streams: a fifth smaller than the ASCII of old mail gateways

INK, MUTED, ACCENT, RULE, ZEBRA, TINT = map(HexColor, ("#1b2433", "#667085", "#2f5d8c", "#d0d5dd", "#f6f7f9", "#e9eef4"))
MARGIN, FOOTER = 48.0, 30.0
PAD = 4.0
MAX_PAGES = 2_000
MAX_LOGO_PIXELS = 25_000_000
PAGES = {"A4": (595.28, 841.89), "Letter": (612.0, 792.0)}


class Pen:
    """A canvas that speaks in lines of text, from the side where the locale starts reading."""

    def __init__(self, size: tuple[float, float], locale: Locale, language: str) -> None:
        self.locale = locale
        self.faces = typefaces()
        self.file = io.BytesIO()
        self.canvas = Canvas(
            self.file, pagesize=size, invariant=1, pageCompression=1, lang=language, initialFontName=self.faces[0].name
        )
        for face in self.faces:
            face.missing.clear()
        self.page_width, self.page_height = size
        self.left, self.right = MARGIN, size[0] - MARGIN

    def text(
        self, x: float, y: float, text: str, size: float, *, bold: bool = False, colour: Color = INK, align: str = "left"
    ) -> None:
        """Draw one line with its baseline at `y`; `x` is its left end, its right end or its middle."""
        face = self.faces[bold]
        if align != "left":
            x -= face.width(text, size) / (1 if align == "right" else 2)
        self.canvas.setFillColor(colour)
        for font, run in face.runs(text):
            self.canvas.setFont(font, size)
            self.canvas.drawString(x, y, run)
            x += face.width(run, size)

    def start(self, y: float, text: str, size: float, *, bold: bool = False, colour: Color = INK) -> None:
        """Draw one line from the side where reading starts."""
        x, align = (self.right, "right") if self.locale.right_to_left else (self.left, "left")
        self.text(x, y, text, size, bold=bold, colour=colour, align=align)

    def end(self, y: float, text: str, size: float, *, colour: Color = INK) -> None:
        """Draw one line up to the side where reading ends."""
        x, align = (self.left, "left") if self.locale.right_to_left else (self.right, "right")
        self.text(x, y, text, size, colour=colour, align=align)

    def cut(self, text: str, width: float, size: float, *, bold: bool = False) -> str:
        """Shorten a text to one line of a width, with an ellipsis."""
        face, text = self.faces[bold], shaped(text.replace("\n", " "))
        if face.width(text, size) <= width:
            return text
        return face.pieces(text, width - face.width("…", size), size)[0].rstrip() + "…"

    def rule(self, y: float, colour: Color = RULE, width: float = 0.5) -> None:
        self.canvas.setStrokeColor(colour)
        self.canvas.setLineWidth(width)
        self.canvas.line(self.left, y, self.right, y)

    def block(self, x: float, y: float, width: float, height: float, colour: Color) -> None:
        self.canvas.setFillColor(colour)
        self.canvas.rect(x, y, width, height, stroke=0, fill=1)


@dataclass(slots=True)
class Flow:
    """Things to draw, from top to bottom, page after page."""

    top: float
    bottom: float
    #: per page: how to draw each thing, given its lower edge
    pages: list[list[tuple[float, Callable[[float], None]]]] = field(default_factory=lambda: [[]])
    y: float = 0.0
    #: what every new page starts with
    header: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.y = self.top

    @property
    def room(self) -> float:
        return self.y - self.bottom

    def add(self, height: float, draw: Callable[[float], None]) -> None:
        if height > self.room and self.y < self.top:
            self.turn()
        self.y -= height
        self.pages[-1].append((self.y, draw))

    def turn(self) -> None:
        """Start a new page."""
        if len(self.pages) == MAX_PAGES:
            raise GiveUp(f"the report has more than {MAX_PAGES:,} pages; send fewer rows")
        self.pages.append([])
        self.y = self.top
        if self.header:
            self.header()


class Grid:
    """A table in a flow: widths that fit, headings repeated on each page, cells that wrap."""

    def __init__(self, pen: Pen, flow: Flow, series: Sequence[Series], widths: Sequence[float], size: float) -> None:
        self.pen, self.flow, self.size, self.leading = pen, flow, size, size * 1.35
        self.numeric = [column.is_numeric for column in series]
        edges = [pen.left + sum(widths[:index]) for index in range(len(widths) + 1)]
        self.boxes = list(itertools.pairwise(edges))
        if pen.locale.right_to_left:
            self.boxes = [(pen.left + pen.right - right, pen.left + pen.right - left) for left, right in self.boxes]
        headings = [lines[:4] for lines in self._wrapped([column.label for column in series], bold=True)]
        self._heading = partial(self._place, headings, bold=True, under=ACCENT)
        self._zebra = False
        if flow.room < 6 * self.leading:
            flow.turn()
        self._heading()
        flow.header = self._heading

    def row(self, texts: Sequence[str], *, bold: bool = False, fill: Color | None = None, under: Color | None = None) -> None:
        """Add one row; one that is longer than the page goes on on the next."""
        lines = self._wrapped(texts, bold=bold)
        if not any(lines):
            lines[0] = [""]  # an empty row is a row
        self._zebra = not self._zebra and not bold
        fill = fill or (ZEBRA if self._zebra else None)
        while any(lines):
            room = int((self.flow.room - 2 * PAD) // self.leading)
            if room < min(max(map(len, lines)), 6):
                self.flow.turn()
                continue
            self._place([cell[:room] for cell in lines], bold=bold, fill=fill, under=under)
            lines = [cell[room:] for cell in lines]

    def heading(self, text: str) -> None:
        """Add a line of its own across the table, kept with the row that follows."""
        if self.flow.room < 3 * (self.leading + 2 * PAD):
            self.flow.turn()
        self._zebra = True
        line = self.pen.cut(text, self.pen.right - self.pen.left - 2 * PAD, self.size, bold=True)

        def draw(y: float) -> None:
            pen = self.pen
            pen.block(pen.left, y, pen.right - pen.left, self.leading + 2 * PAD, TINT)
            x, align = (pen.right - PAD, "right") if pen.locale.right_to_left else (pen.left + PAD, "left")
            pen.text(x, y + PAD + self.size * 0.4, line, self.size, bold=True, align=align)

        self.flow.add(self.leading + 2 * PAD, draw)

    def _wrapped(self, texts: Sequence[str], *, bold: bool) -> list[list[str]]:
        face = self.pen.faces[bold]
        return [
            face.wrap(text, right - left - 2 * PAD + 0.01, self.size) if text else []
            for text, (left, right) in zip(texts, self.boxes, strict=True)
        ]

    def _place(
        self, lines: list[list[str]], *, bold: bool = False, fill: Color | None = None, under: Color | None = None
    ) -> None:
        height = max(map(len, lines), default=0) * self.leading + 2 * PAD
        self.flow.add(height, partial(self._draw, lines, height, bold, fill, under))

    def _draw(
        self, lines: list[list[str]], height: float, bold: bool, fill: Color | None, under: Color | None, y: float
    ) -> None:
        pen, rtl = self.pen, self.pen.locale.right_to_left
        if fill:
            pen.block(pen.left, y, pen.right - pen.left, height, fill)
        if under:
            pen.rule(y + 0.5, under, 1)  # inside: the fill of the next row must not cover it
        for cell, (left, right), numeric in zip(lines, self.boxes, self.numeric, strict=True):
            to_right = numeric != rtl
            baseline = y + height - PAD - self.size * 0.95
            for line in cell:
                x, align = (right - PAD, "right") if to_right else (left + PAD, "left")
                pen.text(x, baseline, line, self.size, bold=bold, align=align)
                baseline -= self.leading


def demands(pen: Pen, series: Sequence[Series], sums: Sequence[Sequence[str]]) -> list[tuple[float, float]]:
    """Measure each column in em: the least width that breaks no word, and the width that wraps nothing.

    `sums` are rows of totals: bold, and longer than what they sum up.
    """
    regular, bold = pen.faces
    measured = []
    for index, column in enumerate(series):
        words = [*column.label.split(), *(shaped(row[index]) for row in sums if row)]
        heading = max((bold.width(word, 1) for word in words), default=0.0)
        texts = [shaped(text) for text in set(column.texts)]
        most = max([heading, *(regular.width(line, 1) for text in texts for line in text.split("\n"))])
        if column.is_numeric or column.format == "date":
            least = most
        else:
            words = {word for text in texts for word in text.split()}
            least = min(max([heading, *(regular.width(word, 1) for word in words)]), 11.0)
        measured.append((least, min(max(most, bold.width(column.label, 1), least), 36.0)))
    return measured


def fit(measured: Sequence[tuple[float, float]], numeric: Sequence[bool], room: float, size: float) -> list[float]:
    """Share the width among the columns: each its least, then towards what it would like."""
    demands = [(low * size + 2 * PAD, high * size + 2 * PAD) for low, high in measured]
    least, most = sum(low for low, _ in demands), sum(high for _, high in demands)
    if least >= room:
        return [low * room / least for low, _ in demands]
    if most > room:
        return [low + (high - low) * (room - least) / (most - least) for low, high in demands]
    # Room to spare goes to the texts, so that numbers stay close to what they belong to.
    shares = [high * (0.4 if is_number else 1.0) for (_, high), is_number in zip(demands, numeric, strict=True)]
    return [high + (room - most) * share / sum(shares) for (_, high), share in zip(demands, shares, strict=True)]


def picture(logo: bytes) -> tuple[ImageReader, float, float]:
    """Check and decode a logo, and return it with its size on the page, at most 130 × 44 points.

    Raises:
        GiveUp: it is no PNG, JPEG, GIF or WebP image, broken, or too large.
    """
    from PIL import Image  # reports without a logo do not pay for it

    # Pillow warns beyond this and refuses beyond twice this, also where a GIF's frame is larger than the picture.
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_LOGO_PIXELS // 2
    formats = ["PNG", "JPEG", "GIF", "WEBP"]
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(logo), formats=formats) as image:
            image.draft("RGB", (1040, 352))
            image = image.convert("RGBA")
    except Image.DecompressionBombError as error:
        raise GiveUp(f"logo: {str(error).partition(',')[0]}; send a smaller image") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise GiveUp("the logo is no intact PNG, JPEG, GIF or WebP image; send one of these as base64") from error
    finally:
        Image.MAX_IMAGE_PIXELS = usual
    image.thumbnail((1040, 352))
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image.getchannel("A"))
    scale = min(130 / image.width, 44 / image.height)
    return ImageReader(flat), image.width * scale, image.height * scale
