"""A note with what says which place it is about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rsmoe.data.notes import Note


@dataclass(frozen=True, kw_only=True)
class PlaceNote(Note):
    """A short text on a place that has a picture, a point, or both."""

    picture: Path | None = None
    """Absolute."""
    point: tuple[float, float] | None = None
    """Longitude and latitude in degrees."""
