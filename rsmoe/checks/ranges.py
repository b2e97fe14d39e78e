"""Ranges of the numbers that parts take; `rsmoe.checks.arguments` holds every config against them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MOST = 2**31 - 1

Positive = Annotated[int, Field(ge=1, le=MOST)]
"""A count or a size: 1 or more."""
NonNegative = Annotated[int, Field(ge=0, le=MOST)]
"""A count that may be 0."""
Depth = Annotated[int, Field(ge=1, le=1000)]
"""Layers, heads, levels: each of them is built."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
"""A fraction or a probability."""
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
"""A share below 1: of dropping, of what is held out."""
PositiveReal = Annotated[float, Field(gt=0.0)]
NonNegativeReal = Annotated[float, Field(ge=0.0)]
