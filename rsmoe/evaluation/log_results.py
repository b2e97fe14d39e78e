"""Results of a run in its logger: numbers for every logger; protocols, tables and pictures for Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, WandbLogger
from PIL import Image

from rsmoe.data.sample import Sample
from rsmoe.evaluation.evaluate_splits import Outcome
from rsmoe.evaluation.objective import by_name
from rsmoe.evaluation.report import card, choose
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.result import Result

ROWS = 64
"""Predictions in the table; every one is in ``predictions.jsonl``."""
SIDE_PX = 256
"""Longer side of the pictures in the table."""


def log_results(
    curves: Logger,
    folder: Path,
    outcomes: Sequence[Outcome],
    beside: Sequence[Mapping[str, Sequence[Result]]],
    *,
    experts: Sequence[str],
    step: int,
) -> None:
    """Logs what `rsmoe.evaluation.report.write_report` has written.

    Every number goes under ``<split>/<data set>/<metric>``, and so into the summary of a run of Weights & Biases, with
    its protocol under ``protocol/<split>/<data set>/<metric>``. That run also gets the tables ``results`` (with
    intervals, sizes and baselines) and ``predictions`` (with pictures, masks and router weights), ``router.png`` and
    ``samples.png``.

    Args:
        experts: names, in the order of the router's weights.
        step: where training ended, on the axis of the curves.
    """
    numbers = by_name(outcomes)
    curves.log_metrics({name: result.value for name, result in numbers.items()}, step=step)
    if not isinstance(curves, WandbLogger):
        return
    import wandb

    run = curves.experiment
    run.summary.update({f"protocol/{name}": result.protocol for name, result in numbers.items()})
    baselines = list(dict.fromkeys(name for trivial in beside for name in trivial))
    known_columns = ["split", "data", "metric", "value", "low", "high", "n", "parse failures", "protocol"]
    results = wandb.Table(columns=[*known_columns, *baselines])
    for outcome, trivial in zip(outcomes, beside, strict=True):
        known = {name: {r.metric: r.value for r in rows} for name, rows in trivial.items()}
        for r in outcome.results:
            other = [known.get(name, {}).get(r.metric) for name in baselines]
            results.add_data(
                outcome.split, outcome.data, r.metric, r.value, r.low, r.high, r.n, r.parse_failures, r.protocol, *other
            )
    pairs = [(s, p) for o in outcomes for s, p in zip(o.samples, o.predictions, strict=True)]
    facts = ["id", "task", "kind", "instruction", "images", "prediction", "reference", "correct"]
    predictions = wandb.Table(columns=[*facts, *(f"router/{name}" for name in experts)])
    for sample, prediction in pairs if len(pairs) <= ROWS else choose(pairs, ROWS):
        predictions.add_data(*_row(sample, prediction, experts))
    pictures = {name: wandb.Image(str(folder / f"{name}.png")) for name in ("router", "samples")} if pairs else {}
    run.log({"results": results, "predictions": predictions, **pictures, "trainer/global_step": step})


def _row(sample: Sample, prediction: Prediction, experts: Sequence[str]) -> list[Any]:
    import wandb

    shown = card(sample, prediction)
    images = [_small(_rgb(image), Image.Resampling.BILINEAR) for image in shown.images]
    height = max(image.shape[0] for image in images)
    side_by_side = np.concatenate(
        [np.pad(image, ((0, height - image.shape[0]), (0, 0), (0, 0))) for image in images], axis=1
    )
    left = side_by_side.shape[1] - images[-1].shape[1]  # masks are of the last date
    masks = {}
    for name, mask in (("prediction", shown.mask), ("reference", shown.reference_mask)):
        if mask is not None:
            small = _small(mask.astype(np.uint8), Image.Resampling.NEAREST)
            small = np.pad(small, ((0, height - small.shape[0]), (left, 0)))
            masks[name] = {"mask_data": small, "class_labels": {1: name}}
    picture = wandb.Image(side_by_side, masks=masks or None)
    asked = [sample.id, sample.task, sample.kind, shown.instruction, picture, shown.prediction, shown.reference]
    return [*asked, shown.correct, *(shown.router.get(name) for name in experts)]


def _rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 3): the first three bands, or one band three times."""
    bands = image[..., None] if image.ndim == 2 else image
    return bands[..., :3] if bands.shape[2] >= 3 else np.repeat(bands[..., :1], 3, axis=2)


def _small(array: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(array))
    scale = min(1.0, SIDE_PX / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return np.asarray(picture.resize(size, resampling))
