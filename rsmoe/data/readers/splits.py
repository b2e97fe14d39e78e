"""A split for releases that have none: the same on every machine, whatever the order of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from rsmoe.errors import UserError


def held_out(names: Iterable[str], fraction: float, *, group: Callable[[str], str] = str) -> set[str]:
    """The last ``fraction`` of the names in the order of the SHA-256 of their groups, rounded up to whole groups.

    What a smaller fraction holds out, a larger one holds out too: test and validation part can be taken one after the
    other.

    Args:
        names: file names, for instance; repeated ones count once.
        fraction: 0 holds out nothing; more than 0 at least one group.
        group: the name of what must not be torn apart, for instance the picture that crops are cut from.
    """
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(group(name), []).append(name)
    wanted = fraction * sum(map(len, groups.values()))
    chosen: set[str] = set()
    for key in sorted(groups, key=lambda g: hashlib.sha256(g.encode()).digest(), reverse=True):
        if len(chosen) >= wanted - 1e-9:  # 0.1 * 30 is 3.0000000000000004
            break
        chosen.update(groups[key])
    return chosen


def require_fractions(name: str, **fractions: float) -> None:
    """Refuses shares that are negative, or that leave nothing to train on; `UserError` naming each of them."""
    if any(share < 0 for share in fractions.values()) or sum(fractions.values()) >= 1:
        given = ", ".join(f"{key}={share}" for key, share in fractions.items())
        raise UserError(f"{name}: {given} should be at least 0, and below 1 together")
