"""Predictions of a model on data sets, scored: the one way from samples to numbers, in training and after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from rsmoe.data.batch import Batch
from rsmoe.data.collate import Collate
from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
from rsmoe.data.tasks import task_names
from rsmoe.data.text_codec import TextCodec
from rsmoe.evaluation.answer import answer_batch
from rsmoe.evaluation.map_tiles import tiled_outputs
from rsmoe.metrics.added import added_metrics
from rsmoe.metrics.metric import Metric, Vocabulary
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.result import Result
from rsmoe.metrics.scoring import score
from rsmoe.model import RSMoE
from rsmoe.training.ranks import gathered, my_share


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Everything that one data set of one split gave."""

    data: str
    split: str
    samples: Sequence[Sample]
    predictions: Sequence[Prediction]
    results: Sequence[Result]
    protocols: Mapping[str, str] = field(default_factory=dict)
    """Task -> protocol id, where it was not the task's default."""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Name -> metric beside those of the tasks."""
    vocabulary: Vocabulary = None
    """That protocols on word ids scored with."""

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of what was asked: ids, instructions with their history, and references, in order."""
        digest = hashlib.sha256()
        for s in self.samples:
            digest.update(json.dumps([s.id, s.instruction, s.history, s.responses]).encode() + b"\n")
        return digest.hexdigest()


def evaluate(
    *,
    model: RSMoE,
    codec: TextCodec,
    data: RSDataModule,
    splits: Sequence[str],
    beams: int,
    max_new: int,
    limit: int | None = None,
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    tile: int | None = None,
    draws: int = 1000,
) -> list[Outcome]:
    """Runs the model over every data set of the splits; the ranks of a run share the batches.

    Args:
        limit: n samples of each data set, evenly spread; None for all.
        metrics: name -> config of a metric beside those of the tasks, see `rsmoe.metrics`.
        draws: of the bootstrap that gives 95 % intervals; 0 for none.

    Returns:
        one `Outcome` per data set and split; the split in its results is the name that the release gives it.
    """
    outcomes = []
    rank, world = my_share()
    for split in splits:
        for name, dataset in data.datasets[split].items():
            loader = data.eval_loader(split, name=name, limit=limit, rank=rank, world=world)
            title = "" if rank else f"evaluating {name} ({split})"
            given = answers(model, codec, loader, beams=beams, max_new=max_new, tile=tile, title=title)
            predictions = [p for batch in gathered(list(given)) for p in batch]
            samples = [dataset[i] for i in spread(len(dataset), limit)]  # type: ignore[arg-type]
            outcome = assess(
                name, dataset, samples=samples, predictions=predictions, split=split, model=model, metrics=metrics,
                protocols=getattr(dataset, "protocols", None), draws=draws,
            )  # fmt: skip
            outcomes.append(outcome)
    return outcomes


def answers(
    model: RSMoE,
    codec: TextCodec,
    loader: DataLoader[Batch],
    *,
    beams: int,
    max_new: int,
    title: str,
    tile: int | None = None,
) -> Iterator[list[Prediction]]:
    """The predictions of each batch as it comes; the model is left in eval mode.

    Args:
        loader: of batches without responses, which a `Collate` makes.
        tile: side in pixels of the tiles that maps are drawn in, as `rsmoe.predict` draws them; None draws each from
            the whole picture, resized to what the model reads.
    """
    model.eval()
    device = model.to_lm.weight.device
    for batch in track(loader, description=title, total=len(loader), disable=not title):
        found = answer_batch(model, codec, batch.to(device), beams=beams, max_new=max_new)
        if tile is not None:
            maps = tiled_outputs(model, cast(Collate, loader.collate_fn), batch.samples, tile_px=tile)
            found = [_with_maps(prediction, drawn) for prediction, drawn in zip(found, maps, strict=True)]
        yield found


def _with_maps(prediction: Prediction, maps: Mapping[str, np.ndarray]) -> Prediction:
    outputs = {**prediction.outputs, **{name: value for name, value in maps.items() if name != "change"}}
    return replace(prediction, outputs=outputs, change_map=maps.get("change", prediction.change_map))


def assess(
    name: str,
    dataset: Dataset[Sample],
    *,
    samples: Sequence[Sample],
    predictions: Sequence[Prediction],
    split: str,
    model: RSMoE | None,
    protocols: Mapping[str, str] | None = None,
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    vocabulary: Vocabulary = None,
    draws: int = 0,
) -> Outcome:
    """Scores the predictions for samples of one data set.

    Args:
        dataset: where the samples come from; its ``protocol`` and ``split`` go into the results.
        samples, predictions: the same ids, in any order.
        split: where the data set has no ``split`` of its own.
        model: its experts' tasks say what the router should have chosen; None: there is no router.
        protocols: task -> protocol id, where it is not the default.
        vocabulary: word -> id, for protocols on word ids.
        draws: of the bootstrap that gives 95 % intervals; 0 for none.
    """
    prefix, own = str(getattr(dataset, "protocol", "")), str(getattr(dataset, "split", split))
    tasks: dict[str, Sequence[str]] | None = None
    if model is not None:
        tasks = {"dense": task_names(), **{e.name: e.tasks for e in model.experts}}
    added = added_metrics(metrics)
    results = score(
        samples,
        predictions,
        protocol_prefix=prefix,
        split=own,
        protocols=protocols,
        metrics=added,
        expert_tasks=tasks,
        vocabulary=vocabulary,
        draws=draws,
    )
    return Outcome(
        data=name,
        split=split,
        samples=samples,
        predictions=predictions,
        results=results,
        protocols=dict(protocols or {}),
        metrics=added,
        vocabulary=vocabulary,
    )
