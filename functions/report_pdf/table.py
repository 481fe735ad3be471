"""Reads rows (objects, lists or CSV) into columns of checked values and the texts that stand for them."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime import GiveUp

from .locales import Locale

MAX_COLUMNS = 30
#: of a CSV from which columns are chosen
MAX_HEADINGS = 1_000
MAX_CELLS = 250_000
MAX_CELL_CHARACTERS = 5_000
MAX_LABEL_CHARACTERS = 200

#: what counts as a number in CSV; "007" and "+49…" do not
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}[0-9:.,+Z-]*)?")


class Column(BaseModel):
    """How one column is read and written."""

    model_config = ConfigDict(extra="forbid")

    #: the key in object rows, the heading in CSV
    name: str
    #: what stands above it; the name when left out
    label: str = ""
    #: "percent" writes 0.125 as 12.5 %; "money" adds `currency`
    format: Literal["auto", "text", "number", "percent", "money", "date"] = "auto"
    decimals: int | None = Field(default=None, ge=0, le=9)
    currency: str = ""


@dataclass(slots=True)
class Series:
    """One column's values, and how they are written."""

    column: Column
    locale: Locale
    values: list[Any]
    #: what was detected where the column says "auto"
    format: str = "text"
    decimals: int = 0
    texts: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        text = clean(self.column.label or self.column.name.replace("_", " ").strip())
        return text if self.column.label else text[:1].upper() + text[1:]

    @property
    def is_numeric(self) -> bool:
        return self.format in ("number", "percent", "money")

    def write(self, value: Any) -> str:
        if value is None or value == "":
            return ""
        if isinstance(value, Decimal):
            if self.format == "percent":
                return self.locale.percent(value, self.decimals)
            if self.format == "money":
                return self.locale.amount(value, self.decimals, clean(self.column.currency))
            return self.locale.number(value, self.decimals)
        if isinstance(value, date):
            return self.locale.day(value)
        if isinstance(value, bool):
            return self.locale.yes_no[0 if value else 1]
        return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def read_table(columns: Sequence[Column], rows: list[Any] | None, text: str | bytes | None, locale: Locale) -> list[Series]:
    """Return the columns, each with one value and one text per row.

    Raises:
        GiveUp: the rows are malformed, too many or too wide, or a value does not fit its column's format.
    """
    by_name = True
    if text is not None:
        names, lines = _from_csv(text)
    elif all(isinstance(row, dict) for row in rows or ()):
        names = list(dict.fromkeys(itertools.chain.from_iterable(rows))) if rows else [column.name for column in columns]
        chosen = [column.name for column in columns] or names
        lines = ([row.get(name) for name in chosen] for row in rows or ())
    elif rows and all(isinstance(row, list | tuple) for row in rows):
        by_name = False
        names = [column.name for column in columns] or [f"Column {n}" for n in range(1, max(map(len, rows)) + 1)]
        lines = iter(rows)
    else:
        raise GiveUp("rows are objects and lists mixed; send one kind of them")
    if len(columns or names) > MAX_COLUMNS:
        raise GiveUp(f"{len(columns or names):,} columns do not fit on a page; choose at most {MAX_COLUMNS} with `columns`")
    by_name = by_name and bool(columns)
    columns = columns or [Column(name=name) for name in names]
    if by_name and (unknown := next((column.name for column in columns if column.name not in names), None)):
        raise GiveUp(f"no row has a column {unknown[:40]!r}; there are {listed(names)}")
    if long := next((c for c in columns if max(len(c.name), len(c.label)) > MAX_LABEL_CHARACTERS), None):
        raise GiveUp(f"the column {long.name[:40]!r}… has a long name; use at most {MAX_LABEL_CHARACTERS} characters")
    picked = [names.index(column.name) for column in columns] if by_name and text is not None else list(range(len(columns)))
    series = _series(columns, picked, names, lines, locale)
    for column in series:
        _settle(column, from_csv=text is not None)
    return series


def listed(names: Iterable[str]) -> str:
    """Write some names for a message."""
    return ", ".join(repr(name[:40]) for name in itertools.islice(names, 20)) or "none"


def clean(text: str) -> str:
    """Replace what has no shape: control, format and private characters and halves of surrogate pairs."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    return "".join(c if c == "\n" or unicodedata.category(c) in ("Zs", "Cn") or c.isprintable() else "" for c in text)


def _from_csv(text: str | bytes) -> tuple[list[str], Iterator[list[str]]]:
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise GiveUp(f"the CSV is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=max(",;\t|", key=first.count))
    lines = _lines(reader)
    headings = next(lines, [])
    if not 1 <= len(headings) <= MAX_HEADINGS:
        raise GiveUp(f"the CSV has {len(headings):,} headings; send a line of 1 to {MAX_HEADINGS:,}, and lines of values")
    return [name.strip() or f"Column {n}" for n, name in enumerate(headings, 1)], lines


def _lines(reader: Any) -> Iterator[list[str]]:
    try:
        yield from filter(None, reader)
    except csv.Error as error:
        raise GiveUp(
            f"the CSV cannot be read at line {reader.line_num} ({error}); close its quotes and keep its cells short"
        ) from error


def _series(
    columns: Sequence[Column], picked: Sequence[int], names: Sequence[str], lines: Iterator[list[Any]], locale: Locale
) -> list[Series]:
    series = [Series(column, locale, []) for column in columns]
    for number, line in enumerate(lines, 1):
        if number * len(columns) > MAX_CELLS:
            raise GiveUp(f"the table has more than {MAX_CELLS:,} cells; send fewer rows or choose columns")
        if len(line) > len(names):
            raise GiveUp(f"row {number} has {len(line):,} cells for {len(names)} columns; quote or remove the extra ones")
        for column, index in zip(series, picked, strict=True):
            value = line[index] if index < len(line) else None
            if isinstance(value, str) and len(value) > MAX_CELL_CHARACTERS:
                raise GiveUp(
                    f"row {number}, column {column.column.name!r} has {len(value):,} characters; "
                    f"send at most {MAX_CELL_CHARACTERS:,} a cell"
                )
            column.values.append(value)
    return series


def _settle(series: Series, *, from_csv: bool) -> None:
    """Choose the format where it is left open, convert the values, and write them."""
    present = [value for value in series.values if value is not None and value != ""]
    series.format = _detect(present, from_csv) if series.column.format == "auto" else series.column.format
    if series.is_numeric:
        series.values = [_number(value, row, series.column) for row, value in enumerate(series.values, 1)]
        digits = max((-value.as_tuple().exponent for value in series.values if value), default=0)
        natural = {"money": 2, "percent": min(max(digits - 2, 0), 1)}.get(series.format, min(max(digits, 0), 4))
        series.decimals = natural if series.column.decimals is None else series.column.decimals
    elif series.format == "date":
        series.values = [_day(value, row, series.column) for row, value in enumerate(series.values, 1)]
    series.texts = [series.write(value) for value in series.values]
    for row, text in enumerate(series.texts, 1):
        if len(text) > 2 * MAX_CELL_CHARACTERS:
            raise GiveUp(
                f"row {row}, column {series.column.name!r} is nested data; send at most {MAX_CELL_CHARACTERS:,} characters"
            )


def _detect(present: list[Any], from_csv: bool) -> str:
    if present and all(isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in present):
        return "number"
    if present and all(isinstance(value, date) for value in present):
        return "date"
    if not present or not all(isinstance(value, str) for value in present):
        return "text"
    if from_csv and all(map(_NUMBER.fullmatch, present)):
        return "number"
    return "date" if all(_DATE.fullmatch(value) and parse_day(value) for value in present) else "text"


def _number(value: Any, row: int, column: Column) -> Decimal | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON's 3.0 is a three
        number = value if isinstance(value, Decimal) else Decimal(value if isinstance(value, int) else str(value).strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or abs(number.adjusted()) > 400:
        raise GiveUp(f"row {row}, column {column.name!r} is {str(value)[:40]!r}, which is no finite number; send one, or null")
    return number


def _day(value: Any, row: int, column: Column) -> date | None:
    if value is None or value == "" or isinstance(value, date):
        return value or None
    if (day := parse_day(str(value))) is None:
        raise GiveUp(f"row {row}, column {column.name!r} is {str(value)[:40]!r}, which is no date; write it like '2026-11-21'")
    return day


def parse_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        return None
