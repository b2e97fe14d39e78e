"""What ``limit`` means in every command that takes samples: n of them, evenly spread over the data set.

Releases are often sorted by class or by city, so that the first n would be of a few. Others go through their tasks in
turn, as generated scenes do, so that every m-th would be of one: a sample is taken out of each of n equal stretches, at
a place in it that follows no period. (In searches ``limit`` is the number of hits that are shown.)
"""

from __future__ import annotations

from itertools import pairwise

_GOLDEN = 0.6180339887498949
"""Its multiples, without their whole part, fill 0 to 1 evenly and never return."""


def spread(size: int, most: int | None) -> list[int]:
    """At most ``most`` places among ``size``, in order, always the same; all of them for None."""
    count = size if most is None else min(size, most)
    stretches = pairwise(i * size // count for i in range(count + 1)) if count else ()
    return [start + int(i * _GOLDEN % 1 * (end - start)) for i, (start, end) in enumerate(stretches)]
