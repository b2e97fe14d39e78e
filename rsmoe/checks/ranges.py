"""Ranges of the numbers that parts take; `rsmoe.checks.arguments` holds every config against them."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

MOST = 2**31 - 1
"""Largest count or size that anything takes."""

Positive = Annotated[int, Ge(1), Le(MOST)]
"""A count or a size: 1 or more."""
NonNegative = Annotated[int, Ge(0), Le(MOST)]
"""A count that may be 0."""
Depth = Annotated[int, Ge(1), Le(1000)]
"""Layers, heads, levels: each of them is built."""
Share = Annotated[float, Ge(0), Le(1)]
"""A fraction or a probability."""
Fraction = Annotated[float, Ge(0), Lt(1)]
"""A share below 1: of dropping, of what is held out, of an average that decays."""
Temperature = Annotated[float, Ge(0), Le(2)]
"""Of sampling: 0 takes the most probable token, 1 draws from the probabilities as they are, 2 from flatter ones."""
PositiveReal = Annotated[float, Gt(0), Le(1e9)]
"""A length, a rate, a scale."""
NonNegativeReal = Annotated[float, Ge(0), Le(1e9)]
"""A weight or a penalty."""
