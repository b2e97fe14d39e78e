"""Places that are evenly spread over a data set: releases are often sorted by class or by city."""

from __future__ import annotations


def spread(size: int, most: int | None) -> list[int]:
    """At most ``most`` places among ``size``, in order; all of them for None."""
    count = size if most is None else min(size, most)
    return [i * size // count for i in range(count)]
