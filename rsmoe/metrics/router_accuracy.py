"""What the router does with the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from rsmoe.data.sample import TASKS
from rsmoe.metrics.tally import Finish, Tally, ratio


class RoutingStats(Metric):
    """Statistics of the router's weights, from two (tasks, E) tables of sums and three scalars.

    Args:
        experts: names of the E experts, in the order of the weights' columns.
        expert_tasks: tasks that each expert is a right answer for.
        tasks: names of the task indices.
        kwargs: of ``torchmetrics.Metric``.
    """

    full_state_update = False
    sums: Tensor

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
        if len(expert_tasks) != len(self.experts):
            raise ValueError(f"{len(expert_tasks)} sets of tasks for {len(experts)} experts")
        self._right = np.array([[t in own for own in expert_tasks] for t in tasks])  # (tasks, E)
        size = 3 + 2 * self._right.size
        self.add_state("sums", default=torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, weights: Tensor, task: Tensor) -> None:
        """Adds weights (B, E), each row summing to 1, and task indices (B,) long."""
        self.sums += torch.from_numpy(self._rows(weights, task).sum(axis=0)).to(self.sums)

    def compute(self) -> dict[str, float]:
        """Numbers about routing.

        Returns:
            ``accuracy``: share of samples whose heaviest expert serves their task; ``entropy``: mean over samples of
            the entropy of the weights, nats; ``entropy_normalised``: divided by log E; ``load/<expert>``: mean weight;
            ``load_cv``: standard deviation over mean of the loads; ``mutual_information``: of expert and task, nats,
            at most the entropy of the tasks, which ``mutual_information_normalised`` divides by (0: the choice says
            nothing about the task, 1: it says all); ``agreement``: probability that two samples of one task have the
            same heaviest expert, mean over samples; ``overlap``: share of weight that two tasks give to the same
            experts, mean over pairs of tasks (0: no expert in common; not there with a single task); ``n``.

        Raises:
            ValueError: no sample was added.
        """
        if not float(self.sums[0]):
            raise ValueError("no routing was added before compute()")
        found = self._finish()(self.sums.cpu().numpy())
        return {name: float(value) for name, value in found.items()}

    def tally(self, weights: Tensor, task: Tensor) -> Tally:
        """The same numbers for these samples alone: weights (n, E), task indices (n,)."""
        return Tally(rows=self._rows(weights, task), finish=self._finish())

    def confusion(self) -> Tensor:
        """(tasks, E) float64: weights summed over the samples of each task, of this rank."""
        return self.sums[3 : 3 + self._right.size].reshape(self._right.shape).clone()

    def _rows(self, weights: Tensor, task: Tensor) -> np.ndarray:
        """(n, 3 + 2 tasks E): one, entropy, right; weights and the heaviest expert, in the row of the task."""
        w, t = weights.detach().double().cpu().numpy(), task.cpu().numpy()
        heaviest, n = w.argmax(axis=1), np.arange(len(w))
        joint, top = np.zeros((2, len(w), *self._right.shape))
        joint[n, t] = w
        top[n, t, heaviest] = 1
        scalars = [np.ones(len(w)), _entropy(w), self._right[t, heaviest]]
        return np.concatenate([np.stack(scalars, axis=1), joint.reshape(len(w), -1), top.reshape(len(w), -1)], axis=1)

    def _finish(self) -> Finish:
        shape, experts = self._right.shape, self.experts

        def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
            n, entropy, right = np.moveaxis(sums[..., :3], -1, 0)
            joint, top = np.moveaxis(sums[..., 3:].reshape(*sums.shape[:-1], 2, *shape), -3, 0)
            p = joint / joint.sum(axis=(-2, -1), keepdims=True)
            load, of_task = p.sum(-2), p.sum(-1)
            bound = _entropy(of_task)
            information = (_entropy(load) + bound - _entropy(p.reshape(*p.shape[:-2], -1))).clip(0, None)
            share = ratio(top, top.sum(-1, keepdims=True), empty=0.0)
            found = {
                "accuracy": right / n,
                "entropy": entropy / n,
                "entropy_normalised": entropy / n / np.log(shape[1]) if shape[1] > 1 else np.zeros_like(n),
                **{f"load/{name}": load[..., i] for i, name in enumerate(experts)},
                "load_cv": load.std(-1) / load.mean(-1),
                "mutual_information": information,
                "mutual_information_normalised": ratio(information, bound, empty=0.0),
                "agreement": ((share**2).sum(-1) * top.sum(-1)).sum(-1) / n,
            }
            seen = np.flatnonzero(of_task.reshape(-1, shape[0]).any(axis=0))
            if len(seen) > 1:
                given = ratio(p, of_task[..., None])
                both = [
                    np.minimum(given[..., i, :], given[..., j, :]).sum(-1) for k, i in enumerate(seen) for j in seen[:k]
                ]
                found["overlap"] = ratio(np.nansum(both, axis=0), np.isfinite(both).sum(axis=0))
            return {**found, "n": n}

        return finish


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in nats over the last dimension; 0 log 0 is 0."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1)
