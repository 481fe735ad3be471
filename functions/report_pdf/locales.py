"""How numbers, dates and the few words of a report are written, per locale. After CLDR 46, cut to what is needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from runtime import GiveUp


@dataclass(frozen=True, slots=True)
class Locale:
    """One locale's habits."""

    decimal: str
    group: str
    date_format: str
    page: str
    total: str
    yes_no: tuple[str, str]
    money: str = "{number}\N{NO-BREAK SPACE}{currency}"
    percent_sign: str = "%"
    right_to_left: bool = False

    def number(self, value: Decimal, decimals: int) -> str:
        """Write 1234.5 as "1,234.50", "1.234,50", …; beyond 15 digits in scientific notation."""
        if abs(value) >= 10**15:
            return f"{value:.6g}".replace(".", self.decimal)
        return f"{value:,.{decimals}f}".translate({44: self.group, 46: self.decimal})

    def percent(self, value: Decimal, decimals: int) -> str:
        """Write 0.125 as "12.5%" or "12,5 %"."""
        return self.number(value * 100, decimals) + self.percent_sign

    def amount(self, value: Decimal, decimals: int, currency: str) -> str:
        """Write an amount with its currency where the locale has it; the sign comes first."""
        text = self.money.format(number=self.number(abs(value), decimals), currency=currency)
        return f"-{text}" if value < 0 else text

    def day(self, value: date) -> str:
        """Write a date, and the time of day when there is one."""
        if isinstance(value, datetime):
            return value.strftime(f"{self.date_format} %H:%M %Z").strip()
        return value.strftime(self.date_format)


_BEFORE = "{currency}{number}"
_SPACE = "\N{NO-BREAK SPACE}"

LOCALES = {
    "en": Locale(".", ",", "%m/%d/%Y", "Page {n} of {m}", "Total", ("Yes", "No"), _BEFORE),
    "en-GB": Locale(".", ",", "%d/%m/%Y", "Page {n} of {m}", "Total", ("Yes", "No"), _BEFORE),
    "de": Locale(",", ".", "%d.%m.%Y", "Seite {n} von {m}", "Summe", ("Ja", "Nein"), percent_sign=_SPACE + "%"),
    "de-CH": Locale(".", "’", "%d.%m.%Y", "Seite {n} von {m}", "Summe", ("Ja", "Nein"), "{currency} {number}"),
    "fr": Locale(",", _SPACE, "%d/%m/%Y", "Page {n} sur {m}", "Total", ("Oui", "Non"), percent_sign=_SPACE + "%"),
    "es": Locale(",", ".", "%d/%m/%Y", "Página {n} de {m}", "Total", ("Sí", "No"), percent_sign=_SPACE + "%"),
    "it": Locale(",", ".", "%d/%m/%Y", "Pagina {n} di {m}", "Totale", ("Sì", "No")),
    "pt": Locale(",", ".", "%d/%m/%Y", "Página {n} de {m}", "Total", ("Sim", "Não"), "{currency} {number}"),
    "nl": Locale(",", ".", "%d-%m-%Y", "Pagina {n} van {m}", "Totaal", ("Ja", "Nee"), "{currency} {number}"),
    "sv": Locale(",", _SPACE, "%Y-%m-%d", "Sida {n} av {m}", "Summa", ("Ja", "Nej"), percent_sign=_SPACE + "%"),
    "pl": Locale(",", _SPACE, "%d.%m.%Y", "Strona {n} z {m}", "Razem", ("Tak", "Nie"), percent_sign=_SPACE + "%"),
    "ru": Locale(",", _SPACE, "%d.%m.%Y", "Страница {n} из {m}", "Итого", ("Да", "Нет"), percent_sign=_SPACE + "%"),
    "el": Locale(",", ".", "%d/%m/%Y", "Σελίδα {n} από {m}", "Σύνολο", ("Ναι", "Όχι")),
    "ja": Locale(".", ",", "%Y/%m/%d", "{n} / {m} ページ", "合計", ("はい", "いいえ"), _BEFORE),
    "zh": Locale(".", ",", "%Y/%m/%d", "第 {n} 页,共 {m} 页", "合计", ("是", "否"), _BEFORE),
    "ko": Locale(".", ",", "%Y. %m. %d.", "{m}쪽 중 {n}쪽", "합계", ("예", "아니요"), _BEFORE),
    "ar": Locale(".", ",", "%d/%m/%Y", "صفحة {n} من {m}", "المجموع", ("نعم", "لا"), right_to_left=True),
    "he": Locale(".", ",", "%d.%m.%Y", "עמוד {n} מתוך {m}", "סך הכול", ("כן", "לא"), right_to_left=True),
}


def locale_of(name: str) -> Locale:
    """Find a locale by its tag, or by the language of it: "de-AT" is written like "de"."""
    found = LOCALES.get(name) or LOCALES.get(name.partition("-")[0])
    if found is None:
        raise GiveUp(f"locale={name!r} is not known; use one of {', '.join(LOCALES)}")
    return found
