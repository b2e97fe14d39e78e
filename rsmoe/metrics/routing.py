"""What the router does with the tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from rsmoe.data.sample import TASKS


class RoutingStats(Metric):
    """Statistics of the router's weights, from one (tasks, E) sum of weights and three scalars.

    Args:
        experts: names of the E experts, in the order of the weights' columns.
        expert_tasks: tasks that each expert is a right answer for.
        tasks: names of the task indices.
        kwargs: of ``torchmetrics.Metric``.
    """

    full_state_update = False
    joint: Tensor
    entropy: Tensor
    correct: Tensor
    n: Tensor

    def __init__(
        self,
        *,
        experts: Sequence[str],
        expert_tasks: Sequence[Sequence[str]],
        tasks: Sequence[str] = TASKS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.experts, self.tasks = tuple(experts), tuple(tasks)
        self._right = torch.tensor([[t in own for own in expert_tasks] for t in tasks])  # (tasks, E)
        shape = len(self.tasks), len(self.experts)
        if self._right.shape != shape:
            raise ValueError(f"{len(expert_tasks)} sets of tasks for {len(experts)} experts")
        self.add_state("joint", default=torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("entropy", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("correct", default=torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("n", default=torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, weights: Tensor, task: Tensor) -> None:
        """Adds weights (B, E), each row summing to 1, and task indices (B,) long."""
        weights = weights.detach().to(self.joint)
        task = task.to(self.joint.device)
        self.joint.index_add_(0, task, weights)
        self.entropy += _entropy(weights).sum()
        self.correct += self._right.to(task.device)[task, weights.argmax(1)].sum()
        self.n += len(task)

    def compute(self) -> dict[str, float]:
        """Numbers about routing.

        Returns:
            ``accuracy``: share of samples whose heaviest expert serves their task; ``entropy``: mean over samples of
            the entropy of the weights, nats; ``entropy_normalised``: divided by log E; ``load/<expert>``: mean weight;
            ``load_cv``: standard deviation over mean of the loads; ``mutual_information``: of expert and task, nats,
            at most the entropy of the tasks, which ``mutual_information_normalised`` divides by (0: the choice says
            nothing about the task, 1: it says all); ``n``.

        Raises:
            ValueError: no sample was added.
        """
        n = int(self.n)
        if n == 0:
            raise ValueError("no routing was added before compute()")
        p = self.joint / self.joint.sum()
        load, of_task = p.sum(0), p.sum(1)
        information = float(_entropy(load) + _entropy(of_task) - _entropy(p.flatten()))
        entropy, bound = float(self.entropy) / n, float(_entropy(of_task))
        return {
            "accuracy": int(self.correct) / n,
            "entropy": entropy,
            "entropy_normalised": entropy / math.log(len(load)) if len(load) > 1 else 0.0,
            **{f"load/{name}": float(x) for name, x in zip(self.experts, load, strict=True)},
            "load_cv": float(load.std(correction=0) / load.mean()),
            "mutual_information": max(0.0, information),
            "mutual_information_normalised": max(0.0, information) / bound if bound > 0 else 0.0,
            "n": float(n),
        }

    def confusion(self) -> Tensor:
        """(tasks, E) float64: weights summed over the samples of each task, of this rank."""
        return self.joint.clone()


def _entropy(p: Tensor) -> Tensor:
    """Entropy in nats over the last dimension; 0 log 0 is 0."""
    return torch.special.entr(p).sum(-1)
