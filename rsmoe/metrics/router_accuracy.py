"""What the router does with the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rsmoe.data.tasks import task_names
from rsmoe.errors import require_known
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio


class RoutingStats(Metric):
    """Statistics of the router's weights, see `routing_tally`.

    Args:
        expert_tasks: expert -> the tasks that it is a right answer for.
    """

    protocol = Protocol(
        id="routing/task@1",
        title="Routing by task",
        sentence="accuracy: share of samples whose heaviest expert serves the task of the sample; normalised entropy "
        "of the weights; load per expert and its coefficient of variation; normalised mutual information of expert and "
        "task; agreement of the heaviest expert within a task, overlap of the weights between tasks. All x100, but the "
        "coefficient of variation.",
        fields=("weights", "experts"),
    )
    unscaled = frozenset(("load_cv",))
    hidden = frozenset(("entropy", "mutual_information"))
    """Their normalised twins are what a table can compare."""

    def __init__(self, *, expert_tasks: Mapping[str, Sequence[str]] | None = None) -> None:
        self._expert_tasks = dict(expert_tasks or {})

    def tally(self, pairs: Pairs) -> Tally | None:
        """One row a sample that was routed; None without any."""
        routed = [(s, p) for s, p in pairs if p.weights]
        if not routed:
            return None
        experts = routed[0][1].experts
        require_known("expert", *experts, known=self._expert_tasks)
        return routing_tally(
            np.array([p.weights for _, p in routed], dtype=np.float64),
            np.array([task_names().index(s.task) for s, _ in routed]),
            experts=experts,
            serves=np.array([[task in self._expert_tasks[e] for e in experts] for task in task_names()]),
        )


def routing_tally(weights: np.ndarray, task: np.ndarray, *, experts: Sequence[str], serves: np.ndarray) -> Tally:
    """Numbers about routing.

    Args:
        weights: (n, E) float64, each row summing to 1.
        task: (n,) index of the task of each sample.
        experts: names of the E experts.
        serves: (tasks, E) bool, whether an expert is a right answer for a task.

    Returns:
        ``accuracy``: share of samples whose heaviest expert serves their task; ``entropy``: mean over samples of the
        entropy of the weights, nats; ``entropy_normalised``: divided by log E; ``load/<expert>``: mean weight;
        ``load_cv``: standard deviation over mean of the loads; ``mutual_information``: of expert and task, nats, at
        most the entropy of the tasks, which ``mutual_information_normalised`` divides by (0: the choice says nothing
        about the task, 1: it says all); ``agreement``: probability that two samples of one task have the same heaviest
        expert, mean over samples; ``overlap``: share of weight that two tasks give to the same experts, mean over pairs
        of tasks (0: no expert in common; not there with a single task); ``n``.

    Raises:
        ValueError: no sample, or shapes that do not match.
    """
    if not len(weights) or serves.shape[1:] != (len(experts),) or weights.shape != (len(task), len(experts)):
        raise ValueError(f"weights {weights.shape}, {len(task)} tasks, serves {serves.shape}, {len(experts)} experts")
    heaviest, places, shape = weights.argmax(axis=1), np.arange(len(weights)), serves.shape
    joint, top = np.zeros((2, len(weights), *shape))
    joint[places, task] = weights
    top[places, task, heaviest] = 1
    scalars = [np.ones(len(weights)), _entropy(weights), serves[task, heaviest]]
    flat = [joint.reshape(len(weights), -1), top.reshape(len(weights), -1)]

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

    return Tally(rows=np.concatenate([np.stack(scalars, axis=1), *flat], axis=1), finish=finish)


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in nats over the last dimension; 0 log 0 is 0."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1)
