"""Composes a report: cover or title, charts, table with groups and totals, and a footer on every page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from reportlab.lib.colors import Color

from .archival import describe
from .charts import Plot, draw
from .direction import shaped
from .layout import ACCENT, INK, MARGIN, MUTED, PAD, PAGES, RULE, TINT, Flow, Grid, Pen, demands, fit, picture
from .locales import Locale
from .table import Series

CHART_HEIGHT, GAP = 190.0, 22.0
#: tried in order until every word of the table fits its column
SIZES = ((False, 9.0), (False, 8.0), (True, 9.0), (True, 8.0), (True, 7.0), (True, 6.0))


@dataclass(frozen=True, slots=True)
class Report:
    """All that is on the pages, checked and written in its locale."""

    title: str
    subtitle: str
    author: str
    #: author and date
    byline: str
    summary: str
    logo: bytes | None
    cover: bool
    plots: Sequence[Plot]
    table: Sequence[Series]
    #: the column that parts the rows, and the columns that are summed up
    group: Series | None
    totals: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that belong together: what stands above them, and their sums below; either may be empty."""

    heading: str
    rows: Sequence[int]
    sums: list[str]


def render(
    report: Report, locale: Locale, language: str, page: str, landscape: bool | None, progress: Callable[[float, str], None]
) -> tuple[bytes, list[str]]:
    """Return the PDF, and the characters that no font has."""
    shown = [column for column in report.table if column is not report.group]
    numeric = [column.is_numeric for column in shown]
    pen = Pen(PAGES[page], locale, language)
    parts, sums = _parts(report, shown, locale.total)
    measured = demands(pen, shown, [sums, *(part.sums for part in parts)])
    for lying, size in [option for option in SIZES if landscape is None or option[0] == landscape]:
        pen = Pen(PAGES[page][::-1] if lying else PAGES[page], locale, language)
        widths = fit(measured, numeric, pen.right - pen.left, size)
        if all(width >= low * size + 2 * PAD - 0.01 for width, (low, _) in zip(widths, measured, strict=True)):
            break
    flow = Flow(top=pen.page_height - MARGIN, bottom=MARGIN + 8)
    _opening(pen, flow, report)
    _charts(pen, flow, report.plots)
    if shown:
        _rows(Grid(pen, flow, shown, widths, size), parts, sums, shown, progress)
    return _draw(pen, flow, report, progress), sorted(pen.faces[0].missing | pen.faces[1].missing)


def _opening(pen: Pen, flow: Flow, report: Report) -> None:
    image, width, height = picture(report.logo) if report.logo else (None, 0.0, 0.0)
    big, small = (30.0, 14.0) if report.cover else (20.0, 11.0)
    room = pen.right - pen.left - (width + 20 if image else 0)
    rtl = pen.locale.right_to_left
    if image:
        x, y = (pen.left if rtl else pen.right - width), flow.top - height
        flow.pages[-1].append((y, lambda y: pen.canvas.drawImage(image, x, y, width, height)))
    if report.cover:
        flow.y -= pen.page_height * 0.3
        flow.add(18, lambda y: pen.block(pen.right - 64 if rtl else pen.left, y, 64, 4, ACCENT))
    _lines(pen, flow, report.title, big, room, bold=True)
    _lines(pen, flow, report.subtitle, small, room, colour=MUTED)
    flow.y -= 4
    _lines(pen, flow, report.byline, 9, room, colour=MUTED)
    if report.cover:
        flow.turn()
    else:
        flow.y = min(flow.y, flow.top - height)
        flow.add(10, lambda y: pen.rule(y, ACCENT, 1.5))
        flow.y -= 16
    if report.summary:
        _lines(pen, flow, report.summary, 9.5, pen.right - pen.left)
        flow.y -= 12


def _lines(pen: Pen, flow: Flow, text: str, size: float, width: float, *, bold: bool = False, colour: Color = INK) -> None:
    for line in pen.faces[bold].wrap(text, width, size) if text else ():
        flow.add(size * 1.4, partial(_line, pen, line, size, bold, colour))


def _line(pen: Pen, line: str, size: float, bold: bool, colour: Color, y: float) -> None:
    pen.start(y + size * 0.35, line, size, bold=bold, colour=colour)


def _charts(pen: Pen, flow: Flow, plots: Sequence[Plot]) -> None:
    """Place charts two abreast; a last one alone takes the whole width."""
    for index in range(0, len(plots), 2):
        pair = plots[index : index + 2]
        width = (pen.right - pen.left - GAP * (len(pair) - 1)) / len(pair)

        def place(y: float, pair: Sequence[Plot] = pair, width: float = width) -> None:
            for number, plot in enumerate(reversed(pair) if pen.locale.right_to_left else pair):
                draw(pen, plot, pen.left + number * (width + GAP), y + GAP, width, CHART_HEIGHT)

        flow.add(CHART_HEIGHT + GAP, place)


def _parts(report: Report, shown: Sequence[Series], label: str) -> tuple[list[Part], list[str]]:
    """Return the groups of rows, or all rows as one without a heading, and the sums of the whole table."""
    rows = range(len(report.table[0].values) if report.table else 0)
    sums = _total(shown, report.totals, rows, label)
    if report.group is None:
        return [Part("", rows, [])], sums
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(report.group.texts[row], []).append(row)
    heading = f"{report.group.label}: "
    return [Part(heading + name, those, _total(shown, report.totals, those, label)) for name, those in groups.items()], sums


def _rows(
    grid: Grid, parts: Sequence[Part], sums: list[str], shown: Sequence[Series], progress: Callable[[float, str], None]
) -> None:
    done, count = 0, sum(len(part.rows) for part in parts)
    for part in parts:
        if part.heading:
            grid.heading(part.heading)
        for row in part.rows:
            grid.row([column.texts[row] for column in shown])
            done += 1
            if done % 500 == 0:
                progress(done / count / 2, f"{done:,} rows laid out")
        if part.sums:
            grid.row(part.sums, bold=True, under=RULE)
    if sums:
        grid.row(sums, bold=True, fill=TINT, under=ACCENT)


def _total(shown: Sequence[Series], totals: Sequence[Series], rows: Sequence[int], label: str) -> list[str]:
    if not totals:
        return []
    texts = [
        column.write(sum((column.values[row] or Decimal(0) for row in rows), Decimal(0))) if column in totals else ""
        for column in shown
    ]
    if "" in texts:
        texts[texts.index("")] = label
    return texts


def _draw(pen: Pen, flow: Flow, report: Report, progress: Callable[[float, str], None]) -> bytes:
    canvas, total = pen.canvas, len(flow.pages)
    describe(canvas, report.title, report.author, report.subtitle)
    foot = pen.cut(report.title, (pen.right - pen.left) * 0.7, 8)
    for number, page in enumerate(flow.pages, 1):
        for y, place in page:
            place(y)
        if number > 1 or not report.cover:
            pen.rule(MARGIN - 8)
            pen.start(MARGIN - 20, foot, 8, colour=MUTED)
            pen.end(MARGIN - 20, shaped(pen.locale.page.format(n=number, m=total)), 8, colour=MUTED)
        canvas.showPage()
        if number % 10 == 0:
            progress(0.5 + number / total / 2, f"page {number} of {total}")
    canvas.save()
    return pen.file.getvalue()
