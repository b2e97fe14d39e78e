"""Where and when a search looks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from rsmoe.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Where:
    """Tiles that meet a box and are of a span of days; a tile without a place, or without a date, is in no such span.

    Args:
        bbox: west, south, east, north in degrees; None: anywhere.
        dates: the first and the last day, each "2020-08-30", "2020-08" or "2020"; None: any time.

    Raises:
        UserError: a box or a span that is no such thing, or runs backwards.
    """

    bbox: tuple[float, float, float, float] | None = None
    dates: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.bbox is not None:
            west, south, east, north = self.bbox
            shown = f"bbox=[{','.join(f'{degrees:g}' for degrees in self.bbox)}]"
            if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= 90 and -90 <= north <= 90):
                raise UserError(
                    f"{shown}: expected [west,south,east,north] in degrees, longitudes from -180 to 180 and latitudes "
                    "from -90 to 90"
                )
            if west >= east or south >= north:
                raise UserError(
                    f"{shown}: expected [west,south,east,north] with west < east and south < north; a box across the "
                    "antimeridian is two searches, up to 180 and from -180"
                )
        if self.dates is not None:
            for given in self.dates:
                _check_day(given)
            first, last = self.dates
            if first > last and not first.startswith(last):
                raise UserError(f"dates=[{first},{last}]: the first day comes behind the last one; change their places")


def _check_day(given: str) -> None:
    parts = re.fullmatch(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", given)
    try:
        if parts is None:
            raise ValueError
        date(int(parts[1]), int(parts[2] or 1), int(parts[3] or 1))
    except ValueError:
        raise UserError(
            f"dates: {given!r} is no day; expected 2020-08-30, 2020-08 or 2020, or [first,last] of these"
        ) from None
