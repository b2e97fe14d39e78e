"""The numbers that requests are asked with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rsmoe.settings.model import check_fields
from rsmoe.settings.types import Beams, Pixels


@dataclass(frozen=True, kw_only=True)
class AskedOptions:
    """How widely answers are searched, and in which tiles pictures are seen, as `Responder.answer` takes them.

    Raises:
        UserError: a value out of its range, by the rules of ``python -m rsmoe.predict``.
    """

    beams: Beams | None = None
    """Of beam search."""
    tile: Pixels | Literal[0, -1] | None = -1
    """Side in pixels; 0: none, -1: no maps."""

    def __post_init__(self) -> None:
        """Checks every value."""
        check_fields(self)
