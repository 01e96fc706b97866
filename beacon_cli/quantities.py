"""Sizes, ages and numbers of things as people write them."""

import re

from beacon_cli.errors import SettingsError

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kMGT]?)(i?)B?", re.IGNORECASE)
_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([mhdwy])", re.IGNORECASE)
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def parse_size(text: str) -> int:
    """Bytes: 500MB, 2G, 1.5 GiB, 4096. A unit with an i counts in 1024s, any other in 1000s.

    Raises:
        SettingsError: for anything else.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise SettingsError(f"{text!r} is no size; write it like 500MB, 2GB or 1.5GiB")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " "))


def parse_age(text: str) -> float:
    """Seconds: 90m (minutes), 12h, 30d, 6w, 1y.

    Raises:
        SettingsError: for anything else.
    """
    found = _AGE.fullmatch(text.strip())
    if not found:
        raise SettingsError(f"{text!r} is no age; write it like 90m, 12h, 30d, 6w or 1y")
    return float(found[1]) * _SECONDS[found[2].lower()]


def format_size(size: int) -> str:
    """Bytes for people, in 1000s."""
    if size >= 1e9:
        return f"{size / 1e9:,.1f} GB"
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def format_age(seconds: float) -> str:
    """Days, hours or minutes, whichever is the largest that there is one of."""
    for unit, length in _UNITS:
        if seconds >= length:
            return counted(int(seconds // length), unit)
    return "less than a minute"


def counted(number: int, noun: str) -> str:
    """So many of something: "1 page", "2 pages"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
