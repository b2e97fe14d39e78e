"""Acquisition dates parsed out of file names, where they are unambiguous."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

_EPSG = r"(?<![Ee][Pp][Ss][Gg])(?<![Ee][Pp][Ss][Gg][-_: ])"
_DAY = re.compile(rf"{_EPSG}(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?:[T_]?\d{{6}})?(?!\d)")
_YEAR = re.compile(rf"{_EPSG}(?<!\d)((?:19|20)\d\d)(?!\d)")


@dataclass(frozen=True, kw_only=True)
class NameDate:
    """A date parsed out of a file name."""

    day: datetime
    """The day, or the first of January where only the year is said."""
    pattern: str
    """A ``date_pattern`` of `rsmoe.geo.open_raster` that finds just this in just this name."""


def dates_in_names(names: Sequence[str]) -> list[NameDate | None]:
    """The date in each name, of all of them or of none.

    A whole date is ``2020-08-30`` or ``20200830``, with one separator or none, of a day that has been; of several the
    first counts, as in products of Landsat and Sentinel. Where a name has none, the year alone is taken of each, if it
    is the only one in every name: numbers of tiles and codes look like years too, so a second candidate, a year to
    come, or the same year everywhere is no date.

    Args:
        names: of the files of one request, in order.
    """
    now = datetime.now()
    days = [_day(name, now) for name in names]
    found = days if all(days) else [_year(name, now) for name in names]
    known = [date for date in found if date is not None]
    if len(known) < max(2, len(names)) or (not all(days) and len({date.day for date in known}) < 2):
        return [None] * len(names)
    return found


def day_in_name(name: str) -> datetime | None:
    """The whole date in one name; a year alone is none, for nothing says that it is not a number of something else."""
    found = _day(name, datetime.now())
    return found.day if found else None


def _day(name: str, now: datetime) -> NameDate | None:
    for match in _DAY.finditer(name):
        try:
            day = datetime(int(match[1]), int(match[3]), int(match[4]))
        except ValueError:
            continue  # "20200230" is a number of something else
        if day <= now:
            before = re.escape(name[: match.start()])
            return NameDate(
                day=day,
                pattern=rf"\A{before}(?P<year>\d{{4}})[-_.]?(?P<month>\d\d)[-_.]?(?P<day>\d\d)",
            )
    return None


def _year(name: str, now: datetime) -> NameDate | None:
    years = [match for match in _YEAR.finditer(name) if int(match[1]) <= now.year]
    if len({match[1] for match in years}) != 1:
        return None
    before = re.escape(name[: years[0].start()])
    return NameDate(day=datetime(int(years[0][1]), 1, 1), pattern=rf"\A{before}(?P<year>\d{{4}})")
