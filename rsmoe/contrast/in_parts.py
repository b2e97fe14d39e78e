"""Gradient caching: a large batch on the memory of a small one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_parts(encode: Callable[..., Tensor], *inputs: Tensor, size: int | None) -> Tensor:
    """Encodes n rows, keeping the activations of ``size`` of them at most.

    Of the other parts only the results are kept; what led to them is computed again on the way back, part by part. The
    loss sees the whole batch and its gradient is the same, dropout included, for one more forward pass (GradCache,
    arXiv 2101.06983). A batch norm that trains is the exception: its statistics are those of a part, updated twice.

    Args:
        encode: rows of ``inputs`` -> (rows, dim).
        inputs: tensors of n rows each.
        size: rows of a part; None: all at once.
    """
    if size is None or len(inputs[0]) <= size or not torch.is_grad_enabled():
        return encode(*inputs)
    parts = zip(*(each.split(size) for each in inputs), strict=True)
    return torch.cat([checkpoint(encode, *part, use_reentrant=False) for part in parts])
