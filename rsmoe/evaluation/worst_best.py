"""The samples that a model answered worst and best, as pictures: where to look first when a number surprises."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rsmoe.data.boxes import parse
from rsmoe.data.rasters.images import images_key, read_array
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task
from rsmoe.evaluation.report import card
from rsmoe.figures.samples_plot import plot_samples
from rsmoe.metrics.answers.free_text import token_f1
from rsmoe.metrics.answers.normalise import normalise
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.regions.grounding import hbb_iou
from rsmoe.metrics.regions.obb import obb_iou
from rsmoe.metrics.scoring import metric_of

MEASURES = {
    "text": "F1 of the words of the answer and of the nearest reference",
    "mask": "IoU",
    "boxes": "mean IoU over the true boxes",
    "embedding": "cosine of its best caption less that of the best foreign one",
}
"""`Task.answer` -> what samples are ordered by; those of other heads by the first number of the task's metric on each
alone. It orders pictures and nothing else: no number of a report comes from it."""

Pairs = Sequence[tuple[Sample, Prediction]]


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """The samples of one task that were answered worst, or best."""

    name: str
    """ "worst" or "best"."""
    task: str
    pairs: tuple[tuple[Sample, Prediction], ...]
    values: tuple[float, ...]
    """The measure of each pair, see `MEASURES`."""


def worst_and_best(pairs: Pairs, *, count: int) -> list[Extremes]:
    """The extremes of every task among the pairs, by task, the worst first.

    Args:
        pairs: samples with their predictions, of one data set.
        count: samples of each, no two on the same image as far as there are enough images.
    """
    found = []
    for task in dict.fromkeys(s.task for s, _ in pairs):
        own = [(s, p) for s, p in pairs if s.task == task]
        values = quality(own)
        for name, sign in (("worst", 1.0), ("best", -1.0)):
            chosen = _first([sign * v for v in values], [s for s, _ in own], count)
            some = tuple(own[i] for i in chosen)
            found.append(Extremes(name=name, task=task, pairs=some, values=tuple(values[i] for i in chosen)))
    return found


def measure_of(task: str) -> str:
    """What the samples of a task are ordered by, in words."""
    return MEASURES.get(find_task(task).answer, f"the first number of {find_task(task).protocol}")


def quality(pairs: Pairs) -> list[float]:
    """How well each sample was answered, by the measure of its task (`MEASURES`); all of one task."""
    answer = find_task(pairs[0][0].task).answer if pairs else "text"
    if answer == "embedding":
        return _margins(pairs)
    if answer not in MEASURES:
        return [_first_number(pair) for pair in pairs]
    return [_quality(sample, prediction) for sample, prediction in pairs]


def _quality(sample: Sample, prediction: Prediction) -> float:
    answer = find_task(sample.task).answer
    if answer == "mask":
        return 0.0 if prediction.mask is None or sample.mask is None else _iou(prediction.mask, read_array(sample.mask))
    if answer == "boxes" and "box_convention" in sample.meta:
        return _box_iou(sample, prediction.text)
    return max(token_f1(normalise(prediction.text), normalise(r)) for r in sample.responses)


def _first_number(pair: tuple[Sample, Prediction]) -> float:
    metric = metric_of(pair[0].task)
    tally = metric.tally([pair])
    name, value = next(iter(tally.values().items())) if tally else ("", 0.0)
    return -value if name.split("/")[0] in metric.lower_is_better else value


def _iou(mask: np.ndarray, truth: np.ndarray) -> float:
    either = int((mask | truth).sum())
    return int((mask & truth).sum()) / either if either else 1.0


def _box_iou(sample: Sample, text: str) -> float:
    found, true = (
        parse(t, convention=sample.meta["box_convention"], size_px=sample.meta["size_px"]).boxes
        for t in (text, sample.responses[0])
    )
    if not len(found) or not len(true):
        return 0.0
    return float((obb_iou if true.shape[1] == 5 else hbb_iou)(found, true).max(axis=0).mean())


def _margins(pairs: Pairs) -> list[float]:
    """-2, the least possible, where there is no embedding."""
    margins = [-2.0] * len(pairs)
    known = [i for i, (_, p) in enumerate(pairs) if p.image_embedding is not None and p.text_embeddings is not None]
    if not known:
        return margins
    texts = np.concatenate([np.asarray(pairs[i][1].text_embeddings) for i in known])
    owner = np.concatenate([[i] * len(np.asarray(pairs[i][1].text_embeddings)) for i in known])
    for i in known:
        near = texts @ np.asarray(pairs[i][1].image_embedding)  # unit vectors
        foreign = near[owner != i]
        margins[i] = float(near[owner == i].max() - (foreign.max() if len(foreign) else 0.0))
    return margins


def _first(values: Sequence[float], samples: Sequence[Sample], count: int) -> list[int]:
    """Places of the least values; equal ones in the order of a hash of their ids, each image once as far as it goes."""
    order = sorted(range(len(samples)), key=lambda i: (values[i], hashlib.sha256(samples[i].id.encode()).digest()))
    seen: set[object] = set()
    fresh: list[int] = []
    again: list[int] = []
    for i in order:
        key = images_key(samples[i])
        (again if key in seen else fresh).append(i)
        seen.add(key)
        if len(fresh) == count:
            break
    return [*fresh, *again][:count]


def draw(folder: Path, extremes: Extremes) -> Path:
    """``<name>-<task>.jpg``, a contact sheet: as JPEG photographs take a tenth of the bytes, and reports travel."""
    path = folder / f"{extremes.name}-{extremes.task}.jpg"
    sheet = plot_samples(path.with_suffix(".png"), [card(s, p) for s, p in extremes.pairs])
    try:
        with Image.open(sheet) as image:
            image.convert("RGB").save(path, quality=88)
    finally:
        sheet.unlink()
    return path
