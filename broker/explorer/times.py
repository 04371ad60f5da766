"""Times as auditors write and read them: in a zone of theirs, which every page names."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from broker.settings.values import parse_duration

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)
_AGO: Final = re.compile(r"[0-9]{1,9}[a-z]{1,2}")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}")
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def find_zone(name: str) -> ZoneInfo | None:
    """Return the zone of an IANA name, if this machine knows it."""
    if len(name) > 64 or not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return None


def parse_moment(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Return a duration as a time so long before ``now``, and a time as it is.

    One without an offset is of ``zone``. Raises ``ValueError``; its text says what to write.
    """
    try:
        if _AGO.fullmatch(text):
            ago = parse_duration(text)
            moment = now - (ago if isinstance(ago, timedelta) else timedelta())
        else:
            moment = datetime.fromisoformat(text)
        at = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("write 24h for a day ago, or a time like 2026-11-24 12:00") from None
    if not _FIRST <= at <= _LAST:
        raise ValueError("nothing was recorded then; write a year between 1970 and 9000")
    if moment.tzinfo is None:
        _require_one(moment, zone)
    return at


def _require_one(moment: datetime, zone: ZoneInfo) -> None:
    """Raise ``ValueError`` where clocks of ``zone`` showed this twice, or never."""
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return
    # Past what was left out, the way to UTC and back leads to another hour.
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise ValueError(f"clocks in {zone.key} were put forward past that; write another time")
    raise ValueError(
        f"in {zone.key} that was twice; write {first.isoformat()} or {second.isoformat()}"
    )


def show_moment(at: datetime, zone: ZoneInfo, *, seconds: bool = True) -> str:
    """Return a time in a zone, without the name of it."""
    return f"{at.astimezone(zone):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}"


def show_age(age: timedelta) -> str:
    """Return how long, by its largest unit and the next: ``2 h 10 min``."""
    left = max(0, int(age.total_seconds()))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        if len(parts) == 2 or (parts and not count):
            break
    return " ".join(parts) or "0 s"
