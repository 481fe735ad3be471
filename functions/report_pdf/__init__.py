"""PDF reports: a title, charts and a table, from rows or CSV."""

from __future__ import annotations

import base64
import re
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from runtime import Artifact, Context, GiveUp, function, http, on

from .charts import MAX_CHARTS, Chart, gather
from .layout import PAGES
from .locales import Locale, locale_of
from .report import Report, render
from .table import Column, Series, clean, listed, parse_day, read_table

M = TypeVar("M", bound=BaseModel)


@function(queue="media", timeout="60s", memory="768MB", max_body="25MB", cache="1h")
@http("POST /hooks/report")
@on("report.requested")
def report_pdf(
    title: str,
    rows: list[dict[str, Any] | list[Any]] | None = None,
    columns: list[Column | str] | None = None,
    csv: str | bytes | None = None,
    charts: list[Chart] | None = None,
    group_by: str | None = None,
    totals: bool | list[str] = False,
    subtitle: str = "",
    author: str = "",
    date: str = "",
    summary: str = "",
    logo: str | None = None,
    cover: bool = False,
    locale: str = "en",
    page: Literal["A4", "Letter"] = "A4",
    landscape: bool | None = None,
    *,
    ctx: Context,
) -> Artifact:
    """Make a PDF of `rows` (objects or lists) or `csv`: title, charts, table with repeated headings, page n of m.

    `columns` chooses, orders and formats the columns. `group_by` parts the rows by a column, `totals` sums up all
    number columns, or the named ones. Numbers and dates are written as the `locale` has it. Equal input, equal bytes.
    """
    for name, text, most in (
        ("title", title, 300),
        ("subtitle", subtitle, 500),
        ("author", author, 200),
        ("summary", summary, 20_000),
    ):
        if len(text) > most:
            raise GiveUp(f"{name} has {len(text):,} characters; send at most {most:,}")
    if not title.strip():
        raise GiveUp("title is empty; send a few words")
    if (rows is None) == (csv is None):
        raise GiveUp(f"{'neither rows nor csv are' if rows is None else 'both rows and csv are'} given; send one of them")
    if page not in PAGES:
        raise GiveUp(f"page={page!r} is not known; use one of {', '.join(PAGES)}")
    habits = locale_of(locale)
    chosen = [Column(name=column) if isinstance(column, str) else column for column in columns or ()]
    table = read_table(_checked(Column, chosen, "columns"), rows, csv, habits)
    plots = [gather(chart, table) for chart in _checked(Chart, charts or [], "charts")]
    if len(plots) > MAX_CHARTS:
        raise GiveUp(f"{len(plots)} charts are too many; send at most {MAX_CHARTS}")
    report = Report(
        title=clean(title),
        subtitle=clean(subtitle),
        author=clean(author),
        byline=" · ".join(filter(None, (clean(author), _day(date, habits)))),
        summary=clean(summary),
        logo=_decoded(logo) if logo else None,
        cover=cover,
        plots=plots,
        table=table,
        group=_column(table, group_by, "group_by") if group_by else None,
        totals=_totals(table, totals),
    )
    content, missing = render(report, habits, locale, page, landscape, ctx.progress)
    if missing:
        ctx.log.warning("no font has %d of the characters, '?' stands for them: %s", len(missing), " ".join(missing[:20]))
    ctx.log.info("%d rows, %d columns, %d bytes", len(table[0].values) if table else 0, len(table), len(content))
    name = re.sub(r"\W+", "-", report.title).strip("-").lower()[:80] or "report"
    return Artifact(content, "application/pdf", f"{name}.pdf")


def _checked(model: type[M], values: list[Any], parameter: str) -> list[M]:
    try:
        return [model.model_validate(value) for value in values]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise GiveUp(f"{parameter}: {place or 'an entry'} cannot be used: {first['msg']}") from error


def _column(table: list[Series], name: str, parameter: str) -> Series:
    found = next((column for column in table if column.column.name == name), None)
    if found is None:
        raise GiveUp(f"{parameter} names the column {name[:40]!r}; there are {listed(c.column.name for c in table)}")
    return found


def _totals(table: list[Series], totals: bool | list[str]) -> list[Series]:
    if isinstance(totals, bool):
        return [column for column in table if totals and column.format in ("number", "money")]
    columns = [_column(table, name, "totals") for name in totals]
    if wrong := next((column for column in columns if not column.is_numeric), None):
        raise GiveUp(f"totals names the column {wrong.column.name!r}, which holds no numbers; leave it out")
    return columns


def _decoded(logo: str | bytes) -> bytes:
    """Read base64, also as a data URL; bytes, which only a caller in Python has, are taken as they are."""
    try:
        return logo if isinstance(logo, bytes) else base64.b64decode("".join(logo.rpartition(",")[2].split()), validate=True)
    except ValueError as error:
        raise GiveUp(f"the logo is not base64 ({error}); encode the image's bytes") from error


def _day(text: str, locale: Locale) -> str:
    if not text:
        return ""
    day = parse_day(text)
    if day is None:
        raise GiveUp(f"date={text[:40]!r} is no date; write it like '2026-11-21'")
    return locale.day(day)
