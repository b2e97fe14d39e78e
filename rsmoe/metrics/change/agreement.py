"""Whether a model's words about a pair say what its map of the same pair shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rsmoe.checks.ranges import Positive
from rsmoe.data.change.answers import CHANGE_CLASSES, read_target
from rsmoe.data.change.cells import CELLS
from rsmoe.data.change.facts import class_values, facts_of_masks
from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.row_metric import RowMetric

_KEYS = {"presence": "changed", "count": "change_counts", "location": "change_cells"}


class ChangeAgreement(RowMetric):
    """Answers on presence, counts and cells against the same facts read off the predicted map; truth plays no part.

    - ``presence``: share of answers "yes" and "no" that agree with the map;
    - ``counts``: share of answers whose counts of every class are those of the map's components;
      ``counts_mae``: mean difference a class, in things (an answer that cannot be read differs by the map's count, and
      by one at least);
    - ``cells_f1``: F1 of the cells that are named against those that the map holds, over all classes.

    ``reference_...`` is the same of the true answer and the true map: what the rule can give at best, for things that
    touch are one component and count as two. An answer that cannot be read agrees with nothing, in no cell either. All
    x100, but the MAE. Questions whose classes a map does not tell apart, and pairs without a map, are left out;
    ``n/<number>`` says how many were compared.

    Args:
        min_pixels: smaller components of a map are specks.
        kwargs: of ``torchmetrics.Metric``.
    """

    tasks = ("change_vqa",)
    protocol = "change/agreement@1"

    def __init__(self, *, min_pixels: Positive = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.min_pixels = min_pixels

    def update(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> None:
        """Adds a prediction, and the sample that it answers, each."""
        for prediction, sample in zip(predictions, samples, strict=True):
            asks = str(sample.meta.get("asks", ""))
            if prediction.change_map is None or asks not in _KEYS:
                continue
            target = sample.meta.get(_KEYS[asks])
            nouns = tuple(target) if isinstance(target, Mapping) else CHANGE_CLASSES
            if asks != "presence" and not all(class_values(sample.classes, noun) for noun in nouns):
                continue
            row: list[Any] = [asks, _compared(asks, prediction.text, self._seen(asks, prediction.change_map, sample))]
            if sample.class_map is not None:
                truth = self._seen(asks, read_array(sample.class_map), sample, specks=1)
                row.append(_compared(asks, sample.responses[0], truth))
            self.append([row])

    def compute(self) -> dict[str, float]:
        """The numbers as above; empty where there was nothing to compare."""
        rows = self.rows()
        found: dict[str, float] = {}
        for place, prefix in ((1, ""), (2, "reference_")):
            for asks in _KEYS:
                own = np.array([row[place] for row in rows if row[0] == asks and len(row) > place], dtype=np.float64)
                if not len(own):
                    continue
                if asks == "presence":
                    numbers = {"presence": 100 * own[:, 0].mean()}
                elif asks == "count":
                    numbers = {"counts": 100 * own[:, 0].mean(), "counts_mae": own[:, 1].mean()}
                else:
                    both, said, seen = own.sum(0)
                    numbers = {"cells_f1": 200 * both / (said + seen) if said + seen else 100.0}
                for name, value in numbers.items():
                    found |= {prefix + name: float(value), f"n/{prefix}{name}": float(len(own))}
        return found

    def _seen(self, asks: str, change_map: np.ndarray, sample: Sample, *, specks: int | None = None) -> Any:
        """What a map shows, in the form of `read_target`'s value."""
        target = sample.meta.get(_KEYS[asks])
        nouns = tuple(target) if isinstance(target, Mapping) else ()
        known = change_map != 255
        facts = facts_of_masks(
            {noun: np.isin(change_map, class_values(sample.classes, noun)) for noun in nouns}
            or {"change": (change_map > 0) & known},
            id=sample.id,
            images=sample.images,
            source=sample.source,
            anything=(change_map > 0) & known,
            min_pixels=self.min_pixels if specks is None else specks,
        )
        return {"presence": facts.changed, "count": facts.counts, "location": facts.cells}[asks]


def _compared(asks: str, text: str, seen: Any) -> list[float]:
    """presence: [agrees]; count: [agrees, mean difference]; location: [cells in both, in the text, in the map]."""
    classes = tuple(seen) if isinstance(seen, Mapping) else CHANGE_CLASSES
    said = (read_target(asks, text, classes) or {}).get(_KEYS[asks])
    if asks == "presence":
        return [float(said is not None and said == seen)]
    if asks == "count":
        gaps = [max(1, seen[noun]) if said is None else abs(said[noun] - seen[noun]) for noun in classes]
        return [float(said is not None and not any(gaps)), sum(gaps) / len(gaps)]
    pairs = [(set(CELLS) - set(seen[noun]) if said is None else set(said[noun]), set(seen[noun])) for noun in classes]
    return [float(sum(len(part) for part in parts)) for parts in zip(*((a & b, a, b) for a, b in pairs), strict=True)]
