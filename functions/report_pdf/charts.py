"""Line, bar and pie charts of a report's own rows, drawn with the report's fonts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict
from reportlab.lib.colors import Color, HexColor, white

from runtime import GiveUp

from .layout import INK, MUTED, RULE, Pen
from .table import Series, clean, listed

PALETTE = tuple(
    map(
        HexColor, ("#2f5d8c", "#4aa3a2", "#e0a030", "#c8553d", "#7d6ba0", "#8a949e", "#5a8f4e", "#b07aa1", "#9c755f", "#3d7ea6")
    )
)
#: labels along the axis, or slices
MOST = {"line": 1_000, "bar": 60, "pie": 10}
MAX_CHARTS, MAX_LINES = 12, len(PALETTE)
SMALL = 7.5
#: of a pie's labels and shares, in points
LEGEND_WIDTH = 200.0


class Chart(BaseModel):
    """One chart: the sums of columns `y` for each value of column `x`, in the order in which these appear."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["line", "bar", "pie"]
    x: str
    #: one or more number columns; a pie takes one
    y: str | list[str]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart with its numbers gathered."""

    kind: str
    title: str
    labels: list[str]
    lines: list[tuple[Series, list[float]]]


def gather(chart: Chart, table: Sequence[Series]) -> Plot:
    """Sum the chart's columns by label.

    Raises:
        GiveUp: a column is missing or holds no numbers, or there is too much to see.
    """
    columns = {column.column.name: column for column in table}
    names = [chart.y] if isinstance(chart.y, str) else chart.y
    for name in (chart.x, *names):
        if name not in columns:
            raise GiveUp(f"a chart names the column {name!r}; there are {listed(columns)}")
    if wrong := next((name for name in names if not columns[name].is_numeric), None):
        raise GiveUp(f"a chart draws the column {wrong!r}, which holds no numbers; choose another for `y`")
    if not 1 <= len(names) <= (1 if chart.kind == "pie" else MAX_LINES):
        raise GiveUp(f"a {chart.kind} chart of {len(names)} columns cannot be read; choose fewer for `y`")
    sums: dict[str, list[Decimal]] = {}
    for row, label in enumerate(columns[chart.x].texts):
        line = sums.setdefault(label, [Decimal(0)] * len(names))
        for index, name in enumerate(names):
            line[index] += columns[name].values[row] or 0
    if not sums or len(sums) > MOST[chart.kind]:
        raise GiveUp(f"a {chart.kind} chart shows 1 to {MOST[chart.kind]:,} labels; {chart.x!r} has {len(sums):,}")
    values = [list(map(float, line)) for line in zip(*sums.values(), strict=True)]
    if chart.kind == "pie" and (min(values[0]) < 0 or sum(values[0]) == 0):
        raise GiveUp(f"a pie cannot show {names[0]!r}: its slices must not be negative, nor all be zero; use bars")
    if any(abs(value) > 1e15 for line in values for value in line):
        raise GiveUp("a chart shows numbers up to 10^15; scale them down")
    return Plot(
        chart.kind, clean(chart.title), list(sums), [(columns[name], line) for name, line in zip(names, values, strict=True)]
    )


def draw(pen: Pen, plot: Plot, x: float, y: float, width: float, height: float) -> None:
    """Draw a plot into a box, given by its lower left corner."""
    if plot.title:
        start, align = (x + width, "right") if pen.locale.right_to_left else (x, "left")
        pen.text(start, y + height - 10, pen.cut(plot.title, width, 9.5, bold=True), 9.5, bold=True, align=align)
    if plot.kind == "pie":
        _pie(pen, plot, x, y, width, height - 22)
        return
    top = y + height - 22
    if len(plot.lines) > 1:
        _legend(pen, plot, x, top - 6, width)
        top -= 18
    _axes(pen, plot, x, y, width, top - y)


def ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers that span a range and include zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / 5))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= span / 5)
    return [n * step for n in range(math.floor(low / step), math.ceil((high or (0 if low else 1)) / step) + 1)]


def _axes(pen: Pen, plot: Plot, x: float, y: float, width: float, height: float) -> None:
    marks = ticks(min(min(line) for _, line in plot.lines), max(max(line) for _, line in plot.lines))
    scale = plot.lines[0][0]
    digits = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9)) + (1 if (marks[1] - marks[0]) % 1 == 0.5 else 0)
    texts = [_tick(scale, mark, min(digits, 9)) for mark in marks]
    gutter = max(pen.faces[False].width(text, SMALL) for text in texts) + 6
    left, bottom = x + gutter, y + 16
    plot_width, plot_height = width - gutter, height - 16 - 4

    def level(value: float) -> float:
        return bottom + plot_height * (value - marks[0]) / (marks[-1] - marks[0])

    pen.canvas.setLineWidth(0.5)
    for mark, text in zip(marks, texts, strict=True):
        pen.canvas.setStrokeColor(MUTED if mark == 0 else RULE)
        pen.canvas.line(left, level(mark), x + width, level(mark))
        pen.text(left - 5, level(mark) - 2.6, text, SMALL, colour=MUTED, align="right")
    slot = plot_width / len(plot.labels)
    every = max(1, math.ceil(28 / slot))
    longest = max(pen.faces[False].width(label, SMALL) for label in plot.labels[::every])
    every = max(every, math.ceil(min(longest + 8, 80) / slot))
    for index in range(0, len(plot.labels), every):
        label = pen.cut(plot.labels[index], max(slot * every - 4, 20), SMALL)
        half = pen.faces[False].width(label, SMALL) / 2
        centre = max(x + half, min(left + slot * (index + 0.5), x + width - half))
        pen.text(centre, y + 3, label, SMALL, colour=MUTED, align="center")
    for number, (_, values) in enumerate(plot.lines):
        centres = [left + slot * (index + 0.5) for index in range(len(values))]
        if plot.kind == "bar":
            bar = slot * 0.7 / len(plot.lines)
            for centre, value in zip(centres, values, strict=True):
                edge = centre - slot * 0.35 + bar * number
                pen.block(edge, level(0), bar * 0.94, level(value) - level(0), PALETTE[number])
        else:
            _curve(pen, [(centre, level(value)) for centre, value in zip(centres, values, strict=True)], PALETTE[number])


def _curve(pen: Pen, points: list[tuple[float, float]], colour: Color) -> None:
    pen.canvas.setStrokeColor(colour)
    pen.canvas.setFillColor(colour)
    pen.canvas.setLineWidth(1.6)
    pen.canvas.setLineJoin(1)
    path = pen.canvas.beginPath()
    path.moveTo(*points[0])
    for point in points[1:]:
        path.lineTo(*point)
    pen.canvas.drawPath(path)
    for point in points if len(points) <= 40 else ():
        pen.canvas.circle(*point, 2, stroke=0, fill=1)


def _tick(series: Series, mark: float, digits: int) -> str:
    if series.format == "percent":
        return series.locale.percent(Decimal(repr(mark)), max(0, digits - 2))
    return series.locale.number(Decimal(repr(mark)), digits)


def _legend(pen: Pen, plot: Plot, x: float, y: float, width: float) -> None:
    share = width / len(plot.lines)
    for number, (series, _) in enumerate(plot.lines):
        label = pen.cut(series.label, share - 14, SMALL)
        pen.block(x, y, 7, 7, PALETTE[number])
        pen.text(x + 11, y + 0.8, label, SMALL, colour=INK)
        x += pen.faces[False].width(label, SMALL) + 26


def _pie(pen: Pen, plot: Plot, x: float, y: float, width: float, height: float) -> None:
    series, values = plot.lines[0]
    radius = min(height / 2, width / 4) - 4
    centre_x, centre_y, total, angle = x + radius + 4, y + height / 2, sum(values), 90.0
    pen.canvas.setStrokeColor(white)
    pen.canvas.setLineWidth(1)
    for colour, value in zip(PALETTE, values, strict=False):
        pen.canvas.setFillColor(colour)
        extent = -360 * value / total
        if value == total:
            pen.canvas.circle(centre_x, centre_y, radius, stroke=0, fill=1)
        elif value:
            box = (centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius)
            pen.canvas.wedge(*box, angle, extent, stroke=1, fill=1)
        angle += extent
    left, line = centre_x + radius + 18, min(15.0, height / len(values))
    right = min(x + width, left + LEGEND_WIDTH)
    top = centre_y + line * len(values) / 2 - line
    for number, (label, value) in enumerate(zip(plot.labels, values, strict=True)):
        share = series.locale.percent(Decimal(repr(round(value / total, 6))), 1)
        at = top - number * line
        pen.block(left, at, 7, 7, PALETTE[number])
        pen.text(left + 12, at + 0.8, pen.cut(label, right - left - 46, SMALL), SMALL)
        pen.text(right, at + 0.8, share, SMALL, colour=MUTED, align="right")
