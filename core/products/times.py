"""Moments in metadata and names of products, in UTC."""

from __future__ import annotations

import datetime as dt
import re

_MOMENT = re.compile(
    r"\s*(\d{4})([-:/]?)(\d\d)\2(\d\d)"
    r"(?:[T _]?(\d\d):?(\d\d):?(\d\d)(?:\.(\d+))?)?"
    r"\s*(?:Z|UTC|([+-])(\d\d):?(\d\d))?\s*",
    re.ASCII | re.IGNORECASE,
)


def moment(text: object) -> dt.datetime | None:
    """Return the moment a text tells, in UTC; midnight where it tells a day only; else None.

    Reads ISO 8601, the compact forms of product names (20190105T083012, 20190105_083012) and
    TIFF's (2019:01:05 08:30:12). Without a zone the time is taken as UTC.
    """
    match = _MOMENT.fullmatch(text) if isinstance(text, str) else None
    if not match:
        return None
    year, _, month, day, hour, minute, second, fraction, sign, zone_hours, zone_minutes = (
        match.groups()
    )
    microsecond = int(f"{fraction or '0':0<6.6}")
    try:
        # Second 60 is a leap second: there is no such datetime, and nobody misses it.
        found = dt.datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            min(int(second or 0), 59),
            microsecond,
            dt.timezone.utc,
        )
        if sign:
            zone = dt.timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
            found += -zone if sign == "+" else zone
    except (ValueError, OverflowError):
        return None
    return found


def midnight(date: dt.date) -> dt.datetime:
    """Return the beginning of a day, in UTC."""
    return dt.datetime(date.year, date.month, date.day, tzinfo=dt.timezone.utc)
