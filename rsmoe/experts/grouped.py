"""Low-rank products of rows that belong to different experts: three kernels with the same result, and sums of experts.

Shapes: x (R, n, in), a (E, r, in), b (E, out, r) -> scale * b_e a_e x (R, n, out), e the expert of the row.
Times in the comments: one core, fp32, 512 -> 512, r 16, 32 rows; `rsmoe.timings.experts` measures a whole model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rsmoe.experts.rows import RowExperts, TokenChoice


def low_rank(x: Tensor, a: Tensor, b: Tensor, rows: RowExperts, scale: float) -> Tensor:
    """Picks the fastest kernel for these shapes and this device; x, a and b share one dtype."""
    experts, rank, _ = a.shape
    if experts == 1:
        return F.linear(F.linear(x, a[0]) * scale, b[0])
    if rows.share is not None:
        return summed(x, a, b, rows.share, scale)
    if _grouped_mm_is_fast(x, a, b):
        return grouped(x, a, b, rows, scale)
    # a row of fewer tokens than r reads less by trying all experts than by copying its own adapter
    return masked(x, a, b, rows, scale) if x.shape[1] < rank else gathered(x, a, b, rows, scale)


def grouped(x: Tensor, a: Tensor, b: Tensor, rows: RowExperts, scale: float) -> Tensor:
    """One product per expert that is present, over its block of rows: 1.0-1.1x of one adapter, forward and backward."""
    ends = (rows.ends * x.shape[1]).to(torch.int32)  # rows -> tokens
    h = F.grouped_mm(x.reshape(-1, x.shape[-1]), a.mT, offs=ends) * scale
    y: Tensor = _DenseGradient.apply(F.grouped_mm(h, b.mT, offs=ends))
    return y.view(*x.shape[:-1], -1)


def gathered(x: Tensor, a: Tensor, b: Tensor, rows: RowExperts, scale: float) -> Tensor:
    """A copy of its adapter for every row: 1.2x of one adapter with 64 tokens per row, 15x with one token."""
    return torch.bmm(torch.bmm(x, a[rows.expert].mT) * scale, b[rows.expert].mT)


def masked(x: Tensor, a: Tensor, b: Tensor, rows: RowExperts, scale: float) -> Tensor:
    """All experts for every row, the others' ranks set to zero: what decoding needs, one token per row."""
    return summed(x, a, b, F.one_hot(rows.expert, len(a)), scale)


def routed(x: Tensor, a: Tensor, b: Tensor, choice: TokenChoice, scale: float) -> Tensor:
    """scale * sum_e w_e b_e a_e x with experts and weights of each token's own."""
    experts, k = len(a), choice.index.shape[-1]
    # with few experts a product of all ranks takes no longer than to sort the tokens; and so for few tokens
    few = experts < 4 * k or x.shape[0] * x.shape[1] < 8 * experts
    if few or not _grouped_mm_is_fast(x, a, b):
        return summed(x, a, b, choice.share, scale)
    order, ends = choice.order
    token = order // k
    weight = choice.weight.flatten().index_select(0, order).to(x.dtype)[:, None] * scale
    # the gradient of index_select is a sum of rows; that of x[token] takes several times as long
    h = F.grouped_mm(x.flatten(0, 1).index_select(0, token), a.mT, offs=ends) * weight
    y: Tensor = _DenseGradient.apply(F.grouped_mm(h, b.mT, offs=ends))
    return y.new_zeros(x.shape[0] * x.shape[1], y.shape[-1]).index_add(0, token, y).view(*x.shape[:-1], -1)


def summed(x: Tensor, a: Tensor, b: Tensor, share: Tensor, scale: float) -> Tensor:
    """scale * sum_e share_e b_e a_e x: one product of E * r ranks, however many are not zero.

    Args:
        share: (R, E), or (R, n, E) for each token.
    """
    experts, rank, _ = a.shape
    share = share[:, None] if share.ndim == 2 else share
    own = share.to(x.dtype)[..., None] * scale  # (R, 1 or n, E, 1)
    h = F.linear(x, a.flatten(0, 1)).unflatten(-1, (experts, rank)) * own
    return F.linear(h.flatten(-2), b.transpose(0, 1).flatten(1))


def _grouped_mm_is_fast(x: Tensor, a: Tensor, b: Tensor) -> bool:
    aligned = all(width % 4 == 0 for width in (a.shape[2], a.shape[1], b.shape[1]))  # strides of 16 bytes
    # in bf16 its CPU kernel is slower than `gathered`; on CUDA it has a fast kernel for a few architectures only
    return x.device.type == "cpu" and x.dtype == torch.float32 and aligned


class _DenseGradient(torch.autograd.Function):
    """Identity; grouped_mm refuses expanded gradients, such as that of ``sum()``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous()
