"""Predictions of a trained model on whole splits, scored, with trivial baselines beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.progress import track
from torch.utils.data import Dataset

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
) -> list[Outcome]:
    """Runs the model over every data set of the splits.

    Args:
        splits: "val", "test".
        beams, max_new: of decoding.
        limit: first n samples of each data set; None for all.

    Returns:
        one `Outcome` per data set and split; the split in its results is the name that the release gives it.
    """
    model.eval()
    outcomes = []
    tasks: dict[str, Sequence[str]] = {"dense": TASKS} if model.bank.size == 1 else {e.name: e.tasks for e in model.experts}
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
            outcomes.append(Outcome(data=name, split=split, samples=samples, predictions=predictions, results=results))
    return outcomes


def _protocol(dataset: Dataset[Sample]) -> str:
    return str(getattr(dataset, "protocol", ""))


def _split(dataset: Dataset[Sample], asked: str) -> str:
    return str(getattr(dataset, "split", asked))
