"""Whether a model's words about a pair say what its map of the same pair shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rsmoe.checks.ranges import Positive
from rsmoe.data.change.answers import CHANGE_CLASSES, read_target
from rsmoe.data.change.cells import CELLS
from rsmoe.data.change.facts import class_values, facts_of_masks
from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio

_KEYS = {"presence": "changed", "count": "change_counts", "location": "change_cells"}

_COLUMNS = (
    *(("presence", "n"), ("presence", "agrees"), ("count", "n"), ("count", "agrees"), ("count", "difference")),
    *(("location", "n"), ("location", "both"), ("location", "said"), ("location", "seen")),
)
"""What a question is about, and what is summed over such questions."""


class ChangeAgreement(Metric):
    """Answers on presence, counts and cells against the same facts read off the predicted map; truth plays no part.

    - ``presence``: share of answers "yes" and "no" that agree with the map;
    - ``counts``: share of answers whose counts of every class are those of the map's components;
      ``counts_mae``: mean difference a class, in things (an answer that cannot be read differs by the map's count, and
      by one at least);
    - ``cells_f1``: F1 of the cells that are named against those that the map holds, over all classes.

    ``reference_...`` is the same of the true answer and the true map: what the rule can give at best, for things that
    touch are one component and count as two. An answer that cannot be read agrees with nothing, in no cell either.
    Questions whose classes a map does not tell apart, and pairs without a map, are left out; ``n/<number>`` says how
    many were compared.

    Args:
        min_pixels: smaller components of a map are specks.
    """

    protocol = Protocol(
        id="change/agreement@1",
        title="Agreement of words and change map",
        tasks=("change_vqa",),
        sentence="Answers on presence, counts and cells against the same facts read off the model's own map: truth "
        "plays no part, and reference_... is the same of the true answer and map. x100, but the MAE.",
        fields=("text", "change_map"),
    )
    unscaled = lower_is_better = frozenset(("counts_mae", "reference_counts_mae"))

    def __init__(self, *, min_pixels: Positive = 4) -> None:
        self.min_pixels = min_pixels

    def tally(self, pairs: Pairs) -> Tally | None:
        """One row a question that can be compared; None without any."""
        rows = []
        for sample, prediction in pairs:
            asks = str(sample.meta.get("asks", ""))
            if prediction.change_map is None or asks not in _KEYS:
                continue
            target = sample.meta.get(_KEYS[asks])
            nouns = tuple(target) if isinstance(target, Mapping) else CHANGE_CLASSES
            if asks != "presence" and not all(class_values(sample.classes, noun) for noun in nouns):
                continue
            row = np.zeros((2, len(_COLUMNS)))  # of the answer, of the reference
            place = [i for i, column in enumerate(_COLUMNS) if column[0] == asks]
            row[0, place] = [1, *_compared(asks, prediction.text, self._seen(asks, prediction.change_map, sample))]
            if sample.class_map is not None:
                truth = self._seen(asks, read_array(sample.class_map), sample, specks=1)
                row[1, place] = [1, *_compared(asks, sample.responses[0], truth)]
            rows.append([1.0, *row.ravel()])
        return Tally(rows=np.array(rows), finish=_finish) if rows else None

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


def _finish(sums: np.ndarray) -> dict[str, np.ndarray]:
    parts = np.moveaxis(sums[..., 1:].reshape(*sums.shape[:-1], 2, len(_COLUMNS)), -2, 0)
    found = {"n": sums[..., 0]}
    for prefix, part in zip(("", "reference_"), parts, strict=True):
        asked, agrees, counted, same, difference, located, both, said, seen = np.moveaxis(part, -1, 0)
        empty = np.where(located > 0, 1.0, np.nan)  # no cell against no cell
        for name, n, value in (
            ("presence", asked, ratio(agrees, asked)),
            ("counts", counted, ratio(same, counted)),
            ("counts_mae", counted, ratio(difference, counted)),
            ("cells_f1", located, ratio(2 * both, said + seen, empty=empty)),
        ):
            found |= {prefix + name: value, f"n/{prefix}{name}": n}
    return found


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
