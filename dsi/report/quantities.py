"""Quantities as people read them; None, which is not known, is a dash."""

UNKNOWN = "-"


def count(value: int | None) -> str:
    """A whole number with its thousands separated.

    >>> count(1463760)
    '1,463,760'
    """
    return UNKNOWN if value is None else f"{value:,}"


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with so many digits after the point.

    >>> decimal(0.71949), decimal(None)
    ('0.719', '-')
    """
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def milliseconds(value: float | None) -> str:
    """A time in milliseconds, to a hundredth where it is short.

    >>> milliseconds(0.04), milliseconds(12.34)
    ('0.04', '12.3')
    """
    return decimal(value, 1 if value is None or value >= 1 else 2)


def large(value: float | None) -> str:
    """A large number in thousands (K), millions (M), billions (G) and so on.

    >>> large(8_130_000), large(223_000_000), large(950), large(6.8e12)
    ('8.1M', '223M', '950', '6.8T')
    """
    return UNKNOWN if value is None else _scaled(value, ("", "K", "M", "G", "T", "P", "E"))


def size(value: float | None) -> str:
    """A number of bytes in decimal units.

    >>> size(3_397_679), size(512)
    ('3.4 MB', '512 B')
    """
    return UNKNOWN if value is None else _scaled(value, (" B", " kB", " MB", " GB", " TB"))


def duration(seconds: float | None) -> str:
    """Seconds as seconds, minutes or hours.

    >>> duration(2.345), duration(75), duration(3 * 3600 + 125)
    ('2.3 s', '1 min 15 s', '3 h 2 min')
    """
    if seconds is None:
        return UNKNOWN
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
