"""Text of others for a page and for a drawing: nothing in it acts, and it fits where it stands."""

import unicodedata
from datetime import datetime, tzinfo
from typing import Final

_NARROW: Final = frozenset("fijlrtI.,:;'|!()[]{}/- ")
_WIDE: Final = frozenset("mwMW@%—…→←")
_READ: Final = 4  # characters for each pixel: of more of them nobody would see anything


def plain(value: object) -> str:
    """Return it as one line; what would break the line or turn text around is shown as such."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for char in " ".join(str(value).split())
    )


def bounded(value: object, most: int) -> str:
    """Return it as one line of at most so many characters, and ``…`` if there were more."""
    whole = str(value)
    return plain(whole) if len(whole) <= most else f"{plain(whole[:most])}…"


def fit(value: object, width: float, *, size: float, mono: bool = False) -> str:
    """Return the line, cut to about ``width`` pixels at a font of ``size``, cut parts as ``…``."""
    whole = str(value)
    text = plain(whole[: int(width) * _READ])
    if len(whole) <= int(width) * _READ and measure(text, size=size, mono=mono) <= width:
        return text
    room = width - measure("…", size=size, mono=mono)
    taken, places = 0, 0.0
    for char in text:
        places += _places(char, mono=mono) * size
        if places > room:
            break
        taken += 1
    return f"{text[:taken].rstrip()}…"


def measure(text: str, *, size: float, mono: bool = False) -> float:
    """Return about how many pixels wide it is, rather too many: no font is at hand to ask."""
    return sum(_places(char, mono=mono) for char in text) * size


def _places(char: str, *, mono: bool) -> float:
    """Return the width of one character, in units of the font's size."""
    if unicodedata.combining(char):
        return 0.25  # nothing wide, but marks over marks end somewhere
    if unicodedata.east_asian_width(char) in "WF":
        return 1.2 if mono else 1.05
    if mono:
        return 0.61
    if char in _NARROW:
        return 0.37
    if char in _WIDE:
        return 0.95
    return 0.72 if char.isupper() else 0.6


def in_zone(at: datetime, zone: tzinfo) -> datetime:
    """Return the time in a zone; at the ends of the calendar, where that has none, as it is."""
    try:
        return at.astimezone(zone)
    except OverflowError:
        return at
