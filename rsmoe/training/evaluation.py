"""Predictions of a trained model on whole splits, scored, with trivial baselines beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.progress import track
from torch.utils.data import Dataset

from rsmoe.config import instantiate
from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.sample import TASKS, Sample
from rsmoe.data.text import TextCodec
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.result import Result
from rsmoe.metrics.score import score
from rsmoe.model import RSMoE
from rsmoe.training.answer import answer_batch


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Everything that one data set of one split gave."""

    data: str
    split: str
    samples: Sequence[Sample]
    predictions: Sequence[Prediction]
    results: Sequence[Result]


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
) -> list[Outcome]:
    """Runs the model over every data set of the splits.

    Args:
        splits: "val", "test".
        beams, max_new: of decoding.
        limit: first n samples of each data set; None for all.
        metrics: name -> config of a metric of your own, see `rsmoe.metrics`.

    Returns:
        one `Outcome` per data set and split; the split in its results is the name that the release gives it.
    """
    model.eval()
    outcomes = []
    tasks: dict[str, Sequence[str]] = {e.name: e.tasks for e in model.experts} | {"dense": TASKS}
    for split in splits:
        for name, dataset in data.datasets[split].items():
            predictions: list[Prediction] = []
            loader = data.eval_loader(split, name=name, limit=limit)
            for batch in track(loader, description=f"evaluating {name} ({split})", total=len(loader)):
                predictions += answer_batch(
                    model, codec, batch.to(model.to_lm.weight.device), beams=beams, max_new=max_new
                )
            samples = [dataset[i] for i in range(len(predictions))]
            results = score(
                samples,
                predictions,
                protocol_prefix=_protocol(dataset),
                split=_split(dataset, split),
                expert_tasks=tasks,
            )
            for key, node in (metrics or {}).items():
                results += _own(key, node, samples, predictions, _protocol(dataset), _split(dataset, split))
            outcomes.append(Outcome(data=name, split=split, samples=samples, predictions=predictions, results=results))
    return outcomes


def _own(
    name: str,
    node: Mapping[str, Any],
    samples: Sequence[Sample],
    predictions: Sequence[Prediction],
    prefix: str,
    split: str,
) -> list[Result]:
    """Results of a metric that came by config; none where no sample is of its tasks."""
    metric = instantiate(node)
    pairs = [(p, s) for p, s in zip(predictions, samples, strict=True) if s.task in metric.tasks]
    if not pairs:
        return []
    metric.update(*(list(side) for side in zip(*pairs, strict=True)))
    return [
        Result(metric=f"{name}/{key}", value=float(v), protocol=prefix + metric.protocol, split=split, n=len(pairs))
        for key, v in metric.compute().items()
    ]


def _protocol(dataset: Dataset[Sample]) -> str:
    return str(getattr(dataset, "protocol", ""))


def _split(dataset: Dataset[Sample], asked: str) -> str:
    return str(getattr(dataset, "split", asked))
