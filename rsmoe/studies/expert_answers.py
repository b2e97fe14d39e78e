"""Every request answered by the mixture, by each expert alone, and without each expert in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.progress import track

from rsmoe.data.batch import Batch
from rsmoe.data.collate import Collate
from rsmoe.data.sample import Sample
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.evaluation.answer import answer_batch
from rsmoe.experts.token import TokenBank
from rsmoe.metrics.prediction import Prediction
from rsmoe.model import RSMoE
from rsmoe.perception import Perception


@dataclass(frozen=True, kw_only=True)
class ExpertAnswers:
    """What each way of routing made of the same samples; predictions are in their order."""

    samples: Sequence[Sample]
    routed: Sequence[Prediction]
    """By the model as it is."""
    alone: dict[str, list[Prediction]]
    """Expert -> by it alone, whatever the task."""
    without: dict[str, list[Prediction]]
    """Expert -> by the others: their weights are scaled to sum to 1, and a request that it had to itself goes to the
    most probable of them (`rsmoe.router.routing.Routing.only`)."""
    load: dict[str, np.ndarray]
    """Task -> (E,) mean weight of the experts over its samples; of ``bank=token`` also "<task>, <gate>", the mean over
    the tokens of requests and their references in a block of the language model."""

    @classmethod
    def of(
        cls,
        model: RSMoE,
        codec: TextCodec,
        collate: Collate,
        samples: Sequence[Sample],
        *,
        batch_size: int = 32,
        beams: int = 1,
        max_new: int = 80,
        title: str = "",
    ) -> ExpertAnswers:
        """Asks the model; every picture is seen once, and every request answered up to 1 + 2 E times.

        Args:
            model: in eval mode.
            codec: of its language model.
            collate: of the model, at inference.
            samples: in any order.
            beams, max_new: of decoding.
            title: of the progress bar; "" shows none.

        Raises:
            UserError: a model of one expert.
        """
        if model.dense:
            raise UserError("this checkpoint has one expert: there is nothing to take apart. Give a run with several")
        samples = sorted(samples, key=lambda s: s.task)  # answers of a batch are about as long
        serves = model.serves_task.any(0)
        names = [name for name, own in zip(model.names, serves.tolist(), strict=True) if own]
        routed: list[Prediction] = []
        alone: dict[str, list[Prediction]] = {name: [] for name in names}
        without: dict[str, list[Prediction]] = {name: [] for name in names}
        shares: dict[str, list[np.ndarray]] = {}
        starts = range(0, len(samples), batch_size)
        for start in track(starts, description=title, disable=not title):
            part = samples[start : start + batch_size]
            batch = collate([(sample, 0) for sample in part]).to(model.to_lm.weight.device)
            with torch.no_grad():
                seen = model.perceive(batch)

            def answered(perception: Perception, batch: Batch = batch) -> list[Prediction]:
                return answer_batch(model, codec, batch, beams=beams, max_new=max_new, perception=perception)

            mixed = answered(seen)
            routed += mixed
            for name in names:
                itself = torch.tensor([name == other for other in model.names], device=serves.device)
                alone[name] += answered(replace(seen, routing=seen.routing.only(itself)))
                took_part = bool(seen.routing.chosen[:, itself].any()) and len(names) > 1
                rest = replace(seen, routing=seen.routing.only(serves & ~itself)) if took_part else seen
                without[name] += answered(rest) if took_part else mixed
            for label, share in _shares(model, batch, seen):
                shares.setdefault(label, []).append(share)
        rows = {label: np.concatenate(own) for label, own in sorted(shares.items())}
        load = {label: own.mean(axis=0) for label, own in rows.items() if len(own)}
        return cls(samples=samples, routed=routed, alone=alone, without=without, load=load)


@torch.no_grad()
def _shares(model: RSMoE, batch: Batch, perception: Perception) -> list[tuple[str, np.ndarray]]:
    """(label, (n, E)): one row a sample, and with ``bank=token`` for every gate one a token."""
    tasks = np.array([sample.task for sample in batch.samples])
    weights = perception.routing.weights.cpu().numpy()
    found = [(str(task), weights[tasks == task]) for task in dict.fromkeys(tasks)]
    if not isinstance(model.bank, TokenBank):
        return found
    rows = model.fusion.rows(perception.routing)
    for task in dict.fromkeys(tasks):
        own = torch.from_numpy(tasks == task).to(rows.sample.device)[rows.sample]
        gates = model.read(batch, perception, rows=rows[own]).gates
        found += [(f"{task}, {name}", routing.weights.cpu().numpy()) for name, routing in gates.items()]
    return found
