"""When a scene was taken: dates from the user, metadata or a file name."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from .errors import DateError

# 20190105, 2019-01-05, 2019_01_05, 2019.01.05; then year and day of year: 2019005.
_CALENDAR = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?!\d)")
_ORDINAL = re.compile(r"(?<!\d)((?:19|20)\d\d)([0-3]\d\d)(?!\d)")
# S2A_OPER_PRD_MSIL2A_PDMC_<made>_R036_V<taken>_<until>; LC8<path and row><year and day>LGN00.
_OLD_SENTINEL = re.compile(r"S2[A-D]_OPER_.*_V((?:19|20)\d\d)(\d\d)(\d\d)T")
_OLD_LANDSAT = re.compile(r"L[COTEM]\d\d{6}((?:19|20)\d{5})[A-Z]{3}\d\d")
_ISO = re.compile(r"\s*(\d{4}-\d\d-\d\d)(?:[T ].*)?\s*", re.ASCII)
_TAG = re.compile(r"\s*(\d{4})[-:/](\d\d)[-:/](\d\d)(?:[T ].*)?$|\s*(\d{4})(\d\d)(\d\d)(?!\d)")


def parse_iso(text: str) -> dt.date:
    """Return the date of an ISO 8601 date, with or without a time; raise DateError."""
    match = _ISO.fullmatch(text)
    date = _date(*map(int, match[1].split("-"))) if match else None
    if date is None:
        raise DateError(
            f"'{text.strip()}' is not a date; expected year-month-day, such as 2019-07-31."
        )
    return date


def parse_iso_list(text: str) -> list[dt.date] | None:
    """Return the dates of a list divided by commas, semicolons or spaces; None if empty."""
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    return [parse_iso(part) for part in parts] or None


def date_in_tag(text: str) -> dt.date | None:
    """Return the date a metadata value starts with, if it is one."""
    match = _TAG.match(text)
    if not match:
        return None
    year, month, day = (part for part in match.groups() if part)
    return _date(int(year), int(month), int(day))


def date_in_name(name: str) -> dt.date | None:
    """Return the first date in a file name; product names put the acquisition first."""
    for match in _CALENDAR.finditer(name):
        date = _date(int(match[1]), int(match[3]), int(match[4]))
        if date:
            return date
    for match in _ORDINAL.finditer(name):
        date = _date(int(match[1]), 1, 1)
        if date and 1 <= int(match[2]) <= 366:
            date += dt.timedelta(days=int(match[2]) - 1)
            return date if date.year == int(match[1]) else None
    return None


def date_in_product(name: str) -> dt.date | None:
    """Return the acquisition date of a product's name where it is not the first date in it."""
    match = _OLD_SENTINEL.search(name)
    if match:
        return _date(int(match[1]), int(match[2]), int(match[3]))
    match = _OLD_LANDSAT.match(name)
    return date_in_name(match[1]) if match else None


def find_date(name: str, acquisition_tags: Sequence[str], file_tag: str) -> tuple[dt.date, str]:
    """Return a scene's date and, in a few words, where it was found; DateError if nowhere.

    From its metadata, else its product or file name, else its TIFF date.
    """
    found = [(date_in_tag(text), "from its metadata") for text in acquisition_tags]
    found.append((date_in_product(name), "from its product name"))
    found.append((date_in_name(name), "from its file name"))
    found.append((date_in_tag(file_tag), "from its TIFF date"))
    for date, origin in found:
        if date:
            return date, origin
    raise DateError(
        f"Scene '{name}' has no date in its metadata or its file name: "
        "give one ISO date for each scene with DATES."
    )


def _date(year: int, month: int, day: int) -> dt.date | None:
    try:
        return dt.date(year, month, day)
    except ValueError:
        return None
