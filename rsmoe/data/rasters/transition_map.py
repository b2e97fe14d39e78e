"""Two semantic maps of one place as one map of what turned into what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.sample import Lazy
from rsmoe.errors import UserError


@dataclass(frozen=True)
class TransitionMap:
    """(H, W) uint8 class map of a pair: 0 no change, 1 + n (a - 1) + (b - 1) where class a became class b.

    One map holds both dates, so that it is cropped, mirrored and kept with its pair as any class map is;
    `transition_names` names the values. Where just one date says "no change",
    or a date is not known, the value is 255: nothing is known.

    Args:
        before, after: sources of (H, W) uint8 maps of one size: 0 no change, 1 .. n the classes, 255 unknown.
        classes: n, from 1 to 15 (so that n n + 1 values stay below 255).

    Raises:
        UserError: when read, for maps of different sizes, or values beyond n.
    """

    before: Lazy
    after: Lazy
    classes: int

    def __post_init__(self) -> None:
        if not 1 <= self.classes <= 15:
            raise ValueError(f"a transition map has 1 to 15 classes, not {self.classes}")

    @property
    def key(self) -> str:
        """Those of the two maps."""
        return f"transition:{self.classes}:{self.before.key}>{self.after.key}"

    def read(self) -> np.ndarray:
        """(H, W) uint8."""
        a, b = self.before.read(), self.after.read()
        if a.shape != b.shape:
            raise UserError(f"the semantic maps {self.before} and {self.after} differ in size: {a.shape}, {b.shape}")
        for source, values in ((self.before, a), (self.after, b)):
            if ((values > self.classes) & (values != UNKNOWN)).any():
                raise UserError(f"{source} holds a class beyond {self.classes}")
        known = (a != UNKNOWN) & (b != UNKNOWN) & ((a > 0) == (b > 0))
        changed = 1 + self.classes * (a.astype(np.int16) - 1) + (b.astype(np.int16) - 1)
        return np.where(known, np.where(a > 0, changed, 0), UNKNOWN).astype(np.uint8)


def transition_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the values of a `TransitionMap`: "no change", "water to tree" ..."""
    return ("no change", *(f"{a} to {b}" for a in names for b in names))
