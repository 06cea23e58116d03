"""Quantities as people read them, which remember their numbers; None and nan, which are not known, are a dash."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from math import isnan


class Quantity(str):
    """A quantity as text, with the numbers that the text stands for.

    >>> duration(234.1), duration(234.1).numbers, duration(234.1).unit
    ('3 min 54 s', {'': 234.1}, 's')
    """

    numbers: Mapping[str, float]
    """The numbers by their names. That of the quantity itself is empty, others are e.g. low and high; none if it is not
    known."""
    unit: str
    """The unit of the numbers; empty if they have none, or one that is named elsewhere."""

    def __new__(cls, text: str, numbers: Mapping[str, float], unit: str = "") -> Quantity:
        quantity = super().__new__(cls, text)
        quantity.numbers, quantity.unit = numbers, unit
        return quantity


UNKNOWN = Quantity("-", {})


def count(value: int | None) -> Quantity:
    """A whole number with its thousands separated.

    >>> count(1463760)
    '1,463,760'
    """
    return _quantity(value, "{:,}".format)


def counted(number: int, singular: str, plural: str) -> str:
    """A whole number with a noun.

    >>> counted(1, "query", "queries"), counted(1219, "query", "queries")
    ('1 query', '1,219 queries')
    """
    return f"{count(number)} {singular if number == 1 else plural}"


def decimal(value: float | None, digits: int = 3) -> Quantity:
    """A number with so many digits after the point.

    >>> decimal(0.71949), decimal(None)
    ('0.719', '-')
    """
    return _quantity(value, f"{{:,.{digits}f}}".format)


def percent(value: float | None) -> Quantity:
    """A share of 1 as a percentage; its number is the share.

    >>> percent(0.125), percent(0.125).numbers
    ('12.5%', {'': 0.125})
    """
    return _quantity(value, "{:.1%}".format, "share")


def bounds(low: float, high: float) -> Quantity:
    """An interval by its lower and its upper bound.

    >>> bounds(0.5216, 0.57)
    '0.522 to 0.570'
    """
    return Quantity(f"{low:.3f} to {high:.3f}", {"low": low, "high": high})


def difference(value: float, low: float, high: float) -> Quantity:
    """A difference with its sign, and its interval in brackets.

    >>> difference(-0.0259, -0.05, 0.001)
    '-0.026 (-0.050 to +0.001)'
    """
    return Quantity(f"{value:+.3f} ({low:+.3f} to {high:+.3f})", {"": value, "low": low, "high": high})


def p_value(value: float) -> Quantity:
    """A p-value, to a ten-thousandth.

    >>> p_value(0.03), p_value(0.00002)
    ('0.0300', '<0.0001')
    """
    return Quantity(f"{value:.4f}" if value >= 0.0001 else "<0.0001", {"": value})


def as_written(text: str) -> Quantity:
    """A number of a file as it is written there.

    >>> as_written("3.667744"), as_written("nan")
    ('3.667744', '-')
    """
    return _quantity(float(text), lambda _: text)


def milliseconds(value: float | None) -> Quantity:
    """A time in milliseconds, to a hundredth where it is short.

    >>> milliseconds(0.04), milliseconds(12.34)
    ('0.04', '12.3')
    """
    return _quantity(value, lambda number: f"{number:,.{1 if number >= 1 else 2}f}", "ms")


def large(value: float | None) -> Quantity:
    """A large number in thousands (K), millions (M), billions (G) and so on.

    >>> large(8_130_000), large(223_000_000), large(950), large(6.8e12)
    ('8.1M', '223M', '950', '6.8T')
    """
    return _quantity(value, lambda number: _scaled(number, ("", "K", "M", "G", "T", "P", "E")))


def size(value: float | None) -> Quantity:
    """A number of bytes in decimal units.

    >>> size(3_397_679), size(512)
    ('3.4 MB', '512 B')
    """
    return _quantity(value, lambda number: _scaled(number, (" B", " kB", " MB", " GB", " TB")), "bytes")


def duration(seconds: float | None) -> Quantity:
    """Seconds as seconds, minutes or hours.

    >>> duration(2.345), duration(75), duration(3 * 3600 + 125)
    ('2.3 s', '1 min 15 s', '3 h 2 min')
    """
    return _quantity(seconds, _time, "s")


def plain(cell: object) -> object:
    """A cell for CSV: a whole number has no point, as far as floating point tells whole numbers apart.

    >>> plain(18536529395712.0), plain(0.5), plain(1e20), plain("a")
    (18536529395712, 0.5, 1e+20, 'a')
    """
    return int(cell) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53 else cell


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """The rows as CSV, their numbers plain.

    >>> csv_text([["a", "k"], [0.5, 100.0]])
    'a,k\\n0.5,100\\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(plain, row) for row in rows)
    return text.getvalue()


def _quantity(value: float | None, text: Callable[[float], str], unit: str = "") -> Quantity:
    return UNKNOWN if value is None or isnan(value) else Quantity(text(value), {"": value}, unit)


def _time(seconds: float) -> str:
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while value >= 1000 and power < len(units) - 1:
        value /= 1000
        power += 1
    digits = 1 if power and value < 100 else 0
    return f"{value:.{digits}f}{units[power]}"
