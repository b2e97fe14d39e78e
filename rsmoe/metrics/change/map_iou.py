"""Overlap of predicted and true maps of change, over pairs."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from rsmoe.data.rasters.images import images_key, read_array
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.sample import Sample
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio


class ChangeMapOverlap(Metric):
    """Change against no change, pixel by pixel, each pair once whatever is asked on it.

    - ``iou``, ``precision``, ``recall``, ``f1`` of changed pixels, over the pixels of all pairs (the numbers of change
      detection);
    - ``miou``: mean over the changed pairs of their own IoU;
    - ``false_alarm``: share of the unchanged pairs in which any pixel is called changed;
    - ``kind``: share of the rightly found pixels whose kind is right, where the model tells kinds.

    Pixels of unknown class (255) are not scored. A pair without a predicted map is a parse failure: none of its changes
    are found, and it is a false alarm where nothing changed. Samples without a class map are left out: there is nothing
    to compare with. ``n`` is the number of pairs. Of different maps of one pair the one that changes fewest pixels
    rightly counts.
    """

    protocol = Protocol(
        id="change/map@1",
        title="Overlap of change maps",
        tasks=("change_caption", "change_vqa", "mask"),
        sentence="x100: IoU, precision, recall and F1 of changed pixels over all pairs, each pair once; mean IoU over "
        "changed pairs; unchanged pairs with any changed pixel; kinds of the pixels that were found. A pair without a "
        "map has none of its changes found, and is a false alarm where nothing changed.",
        source="the numbers of change detection; ours in what is counted once",
        fields=("change_map",),
    )
    lower_is_better = frozenset(("false_alarm",))

    def tally(self, pairs: Pairs) -> Tally | None:
        """One row a pair of dates; None without a class map of two dates.

        Raises:
            ValueError: a predicted map is not of the size of the true one.
        """
        rows: dict[Any, list[Any]] = {}
        for sample, prediction in pairs:
            if sample.class_map is not None and len(sample.images) == 2:
                said = prediction.change_map
                key = images_key(sample), None if said is None else hash(said.tobytes())
                if key not in rows:
                    rows[key] = [_pair(sample), *_row(said, read_array(sample.class_map))]
        if not rows:
            return None
        worst = {row[0]: row[1:] for row in sorted(sorted(rows.values()), key=lambda row: -row[1])}
        both, said, true, kind, missing = np.array([worst[pair] for pair in sorted(worst)], dtype=np.float64).T
        changed = true > 0
        own = changed * both / np.maximum(said + true - both, 1)
        alarm = ~changed & ((said > 0) | (missing > 0))

        def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
            both, said, true, kind, missing, own, changed, unchanged, alarms = np.moveaxis(sums, -1, 0)
            empty = np.where(said + true > 0, 0.0, np.nan)  # nothing to find, nothing found: undefined
            return {
                "iou": ratio(both, said + true - both, empty=empty),
                "precision": ratio(both, said, empty=empty),
                "recall": ratio(both, true, empty=empty),
                "f1": ratio(2 * both, said + true, empty=empty),
                "miou": ratio(own, changed),
                "kind": ratio(kind, both, empty=np.where(changed > 0, 0.0, np.nan)),
                "false_alarm": ratio(alarms, unchanged),
                "n": changed + unchanged,
                "n/miou": changed,
                "n/false_alarm": unchanged,
                "parse_failures": missing,
            }

        columns = (both, said, true, kind, missing, own, changed, ~changed, alarm)
        return Tally(rows=np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1), finish=finish)


def _pair(sample: Sample) -> str:
    """The same on every rank for requests on the same pair."""
    digest = hashlib.sha256(sample.source.encode())
    for image in sample.images:
        named = image.tobytes() if isinstance(image, np.ndarray) else str(getattr(image, "key", image)).encode()
        digest.update(hashlib.sha256(named).digest())
    return digest.hexdigest()[:16]


def _row(said: np.ndarray | None, true: np.ndarray) -> list[int]:
    """Pixels changed in both maps, in the predicted, in the true one; those of the first of the right kind; missing."""
    missing = said is None
    if said is None:
        said = np.zeros_like(true)
    if said.shape != true.shape:
        raise ValueError(f"map of {said.shape} against a target of {true.shape}: resize it to the target")
    known = true != UNKNOWN
    both = (said > 0) & (true > 0) & known
    numbers = both.sum(), ((said > 0) & known).sum(), ((true > 0) & known).sum(), (both & (said == true)).sum()
    return [*(int(n) for n in numbers), int(missing)]
