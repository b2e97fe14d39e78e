"""What ``limit`` means in every command that takes samples: n of them, evenly spread over the data set.

Releases are often sorted by class or by city. (In searches ``limit`` is the number of hits that are shown.)
"""

from __future__ import annotations


def spread(size: int, most: int | None) -> list[int]:
    """At most ``most`` places among ``size``, in order; all of them for None."""
    count = size if most is None else min(size, most)
    return [i * size // count for i in range(count)]
