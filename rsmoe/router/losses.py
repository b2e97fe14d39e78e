"""Losses of the router."""

from __future__ import annotations

import torch
from torch import Tensor

from rsmoe.router.routing import Routing


def label_loss(routing: Routing, right: Tensor, task: Tensor) -> Tensor:
    """Cross-entropy against the experts that serve the task: -log of their summed probability, task by task.

    The loss is the mean over the samples of each task, then over the tasks of the batch: with one caption among twenty
    requests, a mean over samples would leave captions with the experts for questions. Samples whose task no expert
    serves are left out; 0 if all are.

    Args:
        right: (B, E) bool, the experts that serve the task of each sample.
        task: (B,) long, the task of each sample.
    """
    served = right.any(-1)
    log_probability = routing.logits[served].log_softmax(-1).masked_fill(~right[served], float("-inf"))
    alike = task[served] == task[served, None]  # (n, n)
    share = 1 / alike.sum(0).to(log_probability)  # adds up to 1 in each task
    return -(torch.logsumexp(log_probability, dim=-1) * share).sum() / share.sum().clamp_min(1)


def z_loss(routing: Routing) -> Tensor:
    """Mean squared log-partition of the gate, which keeps its logits small (ST-MoE, arXiv 2202.08906, equation 5)."""
    return torch.logsumexp(routing.logits, dim=-1).square().mean()
