"""What tells the methods of a comparison apart, in words of the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rsmoe.studies.run_results import RunResults

Method = tuple[str, str, str]
"""(name, checkpoint, hash of the config without its seed)."""
_MOST = 3
"""Keys in a name; methods that differ in more are told apart by their hashes."""
_ELSEWHERE = ("seed", "start", "resume", "name")
"""Keys that are no part of a method, or are said otherwise: ``start`` where the methods of two starts differ."""


def method_names(runs: Sequence[RunResults], first: Method | None = None) -> dict[Method, str]:
    """The shortest name of each method: that of the experiment; of several with one name, also the checkpoint and the
    keys in which it differs from the first, "ucm_moe router=hash"; or a hash, where there are many or none is known.

    Args:
        runs: oldest first.
        first: the method that the others of its name are held against; None: of each name the oldest.
    """
    oldest: dict[Method, RunResults] = {}
    for run in runs:
        oldest.setdefault(run.key, run)
    found: dict[Method, str] = {}
    for key, run in oldest.items():
        same = [other for other in oldest if other[0] == key[0]]
        base = first if first in same else same[0]
        label = key[0] + (f"@{key[1] or 'training'}" if len({other[1] for other in same}) > 1 else "")
        if len({other[2] for other in same}) > 1:
            told = sorted(_differences(oldest[base].config, run.config))
            if run.start_method != oldest[base].start_method:
                told.append(f"start={run.config.get('start') or 'none'}")
            known = bool(run.config) and len(told) <= _MOST and (bool(told) or key[2] == base[2])
            label += "".join(f" {word}" for word in told) if known else f"#{key[2][:6]}"
        found[key] = label
    twice = {label for label in found.values() if list(found.values()).count(label) > 1}
    return {key: f"{label}#{key[2][:6]}" if label in twice else label for key, label in found.items()}


def _differences(base: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """``key=value`` of all that ``other`` has otherwise; a part of another class is one word."""
    for key in dict.fromkeys([*base, *other]):
        mine, theirs, at = base.get(key), other.get(key), f"{path}{key}"
        if mine == theirs or at in _ELSEWHERE:
            continue
        if isinstance(mine, dict) and isinstance(theirs, dict) and mine and theirs and _part(mine) == _part(theirs):
            yield from _differences(mine, theirs, f"{at}.")
        else:
            part = _part(theirs)
            plain = "none" if theirs in ({}, None) else json.dumps(theirs).replace('"', "").replace(" ", "")
            yield f"{at}={part.rpartition('.')[2] if isinstance(part, str) else plain}"


def _part(node: Any) -> Any:
    return node.get("_target_") if isinstance(node, dict) else None
