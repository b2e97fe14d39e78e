"""Numbers of maps of changes, with their intervals."""

from __future__ import annotations

import math

from rsmoe.metrics.bootstrap import intervals
from rsmoe.metrics.change_map_metric import ChangeMapOverlap
from rsmoe.metrics.result import Result


def map_results(metric: ChangeMapOverlap, *, prefix: str, split: str, draws: int, seed: int) -> list[Result]:
    """ "change_map/iou" and so on, x100, those that the pairs leave undefined left out.

    Args:
        metric: after its updates.
        prefix: "generated/" for generated pairs.
        split: of the pairs.
        draws: resampled sets of pairs for the 95 % intervals; 0 for none.
        seed: of the draws.
    """
    tally = metric.tally()
    values = tally.values()
    bounds = intervals(tally, draws=draws, seed=seed) if draws else {}
    return [
        Result(
            metric=f"change_map/{name}",
            value=100 * value,
            protocol=prefix + metric.protocol,
            split=split,
            n=int(values.get(f"n/{name}", values["n"])),
            parse_failures=int(values["parse_failures"]),
            low=100 * bounds[name].low if bounds else None,
            high=100 * bounds[name].high if bounds else None,
        )
        for name, value in values.items()
        if name.split("/")[0] not in ("n", "parse_failures") and not math.isnan(value)
    ]
